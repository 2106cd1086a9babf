"""The live inspector's screen; needs the extra `inspect`."""
