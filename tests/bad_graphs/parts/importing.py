"""A file that imports another one beside it."""

from raising import nothing  # noqa: F401
