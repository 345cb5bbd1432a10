"""Trains on a Ray cluster. Each piece of work is a task, which sends its checkpoints to the driver."""

import math
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax

import decorr
import experiments
from experiments.grid.cells import Work
from experiments.run import host, machine
from experiments.run.local import Training
from experiments.run.memory import Room

Resources = dict[str, int]
"""Resources of a task, in the form that Ray takes."""

_SOCKET = len("/ray/session_2026-01-02_03-04-05_678901_2345678/sockets/plasma_store")
"""The length of the path that Ray adds to the folder of temporary files."""

_TRIES = 4
"""If a piece fails this many times between two checkpoints, all work ends."""


@contextmanager
def connect(address: str | None) -> Iterator[Resources]:
    """Joins the Ray cluster at an address, or starts Ray on this machine, until the context ends.

    Args:
      address: the address of the cluster's head, HOST:PORT; None starts Ray here.

    Yields:
      The resources of each task: a GPU and a core if the cluster has GPUs, else a core.

    Raises:
      RuntimeError: Ray is not installed.
      ValueError: `address` is not HOST:PORT.
      ConnectionError: no cluster answers at the address.
    """
    try:
        import ray
    except ImportError:
        raise RuntimeError('Ray is not installed: pip install -e ".[ray]" in the clone') from None
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address is None:
        settings |= {"num_cpus": machine.processors(), "include_dashboard": False}
        settings["_node_ip_address"] = "127.0.0.1"
        if "RAY_TMPDIR" not in os.environ:
            settings["_temp_dir"] = f"{machine.short_folder(_SOCKET)}/ray"
    else:
        _check_reachable(address)
    # Every machine runs this code, even if another version is installed there.
    ray.init(address or "local", runtime_env={"py_modules": [decorr, experiments]}, **settings)
    try:
        yield {"num_cpus": 1} | ({"num_gpus": 1} if ray.cluster_resources().get("GPU") else {})
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises an error within seconds if no cluster answers. Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--address must be HOST:PORT; got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(
            f"no Ray cluster answers at {address} ({error}): give the address that `ray start --head` prints"
        ) from error


def runs(resources: Resources) -> int:
    """Returns the largest number of runs in a task: few on a core, many on a GPU."""
    return 64 if "num_gpus" in resources else 8


def room(resources: Resources) -> Room:
    """Returns the `Room` of a task, with infinite memory, because each task checks the memory of its own
    machine."""
    return Room("gpu" if "num_gpus" in resources else "cpu", 1, math.inf)


def run(
    training: Training,
    work: Sequence[Work],
    dataset: Any,
    read: Callable[[Work], Any],
    checkpoint_seconds: float,
    *,
    resources: Resources,
) -> Iterator[tuple[Work, int, Any]]:
    """Trains work like `local.run`, but on the connected cluster. This process, the driver, runs nothing on
    JAX.

    If the machine or process of a piece dies, the piece continues on another one, from the checkpoint that
    `read` returns.

    Args:
      resources: the resources of each task, from `connect`.

    Raises:
      RuntimeError: the training of a piece raised an error, or the piece died too often.
    """
    import ray

    task = ray.remote(_train).options(num_returns="streaming", max_retries=0, **resources)
    data = ray.put(dataset)

    def begin(piece):
        return task.remote(training, piece, data, read(piece), checkpoint_seconds, resources["num_cpus"])

    working: dict[Any, Work] = {begin(piece): piece for piece in work}
    failed = dict.fromkeys(work, 0)
    while working:
        ready: Any = ray.wait(list(working), num_returns=1)[0][0]
        piece = working[ready]
        try:
            done, checkpoint = ray.get(next(ready))
        except ray.exceptions.RayTaskError as error:
            raise RuntimeError(f"{piece.name}: {error.cause!r}") from error
        except ray.exceptions.RayError as error:
            failed[piece] += 1
            if failed[piece] == _TRIES:
                raise RuntimeError(f"{piece.name} died {_TRIES} times: {type(error).__name__}") from error
            del working[ready]
            working[begin(piece)] = piece
        else:
            yield piece, done, checkpoint
            if done == piece.length:
                del working[ready]
            elif checkpoint is not None:
                failed[piece] = 0


def _train(
    training: Training, piece: Work, dataset: Any, checkpoint: Any, checkpoint_seconds: float, cores: int
) -> Iterator[tuple[int, Any]]:
    host.configure(cores)
    # Other tasks may run on the other cores of this machine.
    room = Room.of(jax.devices(), processes=machine.processors() // cores or 1)
    training.check(room, piece, dataset)
    yield from training.run(piece, dataset, checkpoint, checkpoint_seconds, jax.devices())
