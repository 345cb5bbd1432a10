"""What workers of the tests prepare: nothing that takes its time."""

import os


def count_forever():
    """Counts its calls."""
    calls = []
    return lambda: calls.append(1), {"threads": os.environ["OMP_NUM_THREADS"]}


def fail():
    raise ValueError("no such thing")
