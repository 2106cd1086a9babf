"""Runs a whole graph in one thread, in virtual time, with faults: the same seed gives the same run, bit for bit."""
