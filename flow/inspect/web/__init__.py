"""The live inspector as a page in the browser."""
