"""Reads and writes files. No other folder of the experiments opens files."""
