"""This machine's cores, memory and sockets, and how it starts processes. This module does not import JAX."""

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

METHOD: Literal["forkserver", "spawn"] = "forkserver" if sys.platform == "linux" else "spawn"
"""How processes start. On systems other than Linux, a fork may break modules that its parent has imported."""


def cores() -> list[int]:
    """Returns the CPU cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return sorted(allowed(0)) if allowed else list(range(os.cpu_count() or 1))


def processors() -> int:
    """Returns how many cores this process may keep busy: all, or the control groups' quota, rounded up."""
    limits = [len(cores())]
    for group in _control_groups("cpu"):
        quotas = _words(group / "cpu.max") or [  # version 2 of control groups, or else version 1
            *_words(group / "cpu.cfs_quota_us"),
            *_words(group / "cpu.cfs_period_us"),
        ]
        if len(quotas) == 2 and quotas[0].isdecimal():  # "max" and -1 mean no limit
            limits.append(math.ceil(int(quotas[0]) / int(quotas[1])))
    return max(1, min(limits))


def memory() -> float:
    """Returns this machine's memory in bytes, or the limit of the control groups if that is lower."""
    if not hasattr(os, "sysconf"):  # as on Windows
        return math.inf
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for group in _control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # versions 2 and 1 of control groups
            limits += [int(word) for word in _words(group / name) if word.isdecimal()]  # "max": no limit
    return min(limits)


_GROUP, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def _control_groups(controller: str) -> Iterator[Path]:
    """Yields the folders of the groups that limit this process: its own group and all groups around it.

    In a container, /proc may give the group's path on the host, while /sys shows the container's own group as
    the root.
    """
    with contextlib.suppress(OSError):
        for line in _GROUP.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            root = _GROUPS / controller if controllers else _GROUPS
            if not controllers or controller in controllers.split(","):
                parts = Path(path).parts[1:]
                yield from (root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def short_folder(added: int) -> str:
    """Returns a folder for sockets: TMPDIR or, if that is too long, /tmp; ValueError if neither will do. The
    sockets' names add `added` bytes, and a socket's path may have at most 107 bytes."""
    for folder in (tempfile.gettempdir(), "/tmp"):
        if len(os.fsencode(folder)) + added <= 107 and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise ValueError(
        f"the name of the folder of temporary files is too long for sockets ({tempfile.gettempdir()}): "
        f"set TMPDIR to a name of at most {107 - added} characters"
    )


def begin_processes() -> Any:
    """Starts importing the code that trains. Processes that are forked from the importing process share
    the import.

    Returns:
      A multiprocessing context that starts the processes.
    """
    context = multiprocessing.get_context(METHOD)
    if METHOD == "spawn":  # each process imports the code itself
        return context
    from multiprocessing import forkserver  # not on every system

    context.set_forkserver_preload(["experiments.run.processes", "experiments.run.epochs"])
    # Ctrl-C in a terminal reaches all processes. The other processes ignore it: this process ends them.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    default, tempfile.tempdir = tempfile.tempdir, short_folder(len("/pymp-01234567/listener-01234567"))
    try:
        forkserver.ensure_running()
    finally:
        tempfile.tempdir = default
        signal.signal(signal.SIGINT, handler)
    return context
