"""A file that cannot be imported."""

raise ValueError("for a test")
