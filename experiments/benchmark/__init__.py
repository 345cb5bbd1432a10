"""How fast decorr is, side by side with its alternatives: `python -m experiments.benchmark`."""
