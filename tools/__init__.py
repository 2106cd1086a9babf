"""Scripts for those who work on flow."""
