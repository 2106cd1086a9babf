"""What papers claim, at a scale that runs here: a script prints its table and exits 1 if a claim fails."""
