"""Runs over several hosts: who joins, workers there, and what comes back of them."""
