"""A small LASER graph in real processes under a seeded nemesis, and what is checked afterwards."""
