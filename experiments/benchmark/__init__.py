"""Measures how fast decorr and its alternatives are: `python -m experiments.benchmark`."""
