"""What papers claim, at a scale that runs here: each script prints its table and exits 1 if the claim fails."""
