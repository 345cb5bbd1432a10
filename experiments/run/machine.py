"""This machine, before JAX is imported: its cores, its memory, and how processes begin on it."""

import math
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any, Literal

METHOD: Literal["forkserver", "spawn"] = "forkserver" if sys.platform == "linux" else "spawn"
"""How processes begin: elsewhere a fork may break what its parent has imported."""


def cores() -> list[int]:
    """The CPU cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return sorted(allowed(0)) if allowed else list(range(os.cpu_count() or 1))


def memory() -> float:
    """Bytes of this machine's memory, or what its control group leaves to this process."""
    if not hasattr(os, "sysconf"):  # as on Windows
        return math.inf
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if Path(path).exists() and (limit := Path(path).read_text().strip()).isdecimal():  # or "max"
            limits.append(int(limit))
    return min(limits)


def begin_processes() -> Any:
    """Begins to import what trains, once for all processes if they are forks of the one that does.

    Returns:
      A context of multiprocessing, which starts them.
    """
    context = multiprocessing.get_context(METHOD)
    if METHOD == "spawn":  # each imports for itself
        return context
    from multiprocessing import forkserver  # not on every system

    context.set_forkserver_preload(["experiments.run.processes", "experiments.run.epochs"])
    # Ctrl-C in a terminal reaches all processes: this one ends the others.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)
    return context
