"""Blocks on the machines of a Ray cluster: each is a task, whose checkpoints come back to the driver."""

import math
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax

import decorr
import experiments
from experiments.data.load import Dataset
from experiments.grid.cells import Work
from experiments.run import engine, processes
from experiments.run.memory import Room

Resources = dict[str, int]
"""What a task takes of its machine, in Ray's words."""

_TRIES = 4
"""How often a block may fail, without a checkpoint between, before the sweep gives up."""


@contextmanager
def connect(address: str | None) -> Iterator[Resources]:
    """Joins the Ray cluster at an address, or starts Ray on this machine, until the context ends.

    Args:
      address: of the cluster's head, HOST:PORT; None starts Ray here.

    Yields:
      What each task takes: a GPU and a core if the cluster has GPUs, else a core.

    Raises:
      RuntimeError: Ray is not installed.
      ValueError: what was given is no address.
      ConnectionError: no cluster answers at the address.
    """
    try:
        import ray
    except ImportError:
        raise RuntimeError('Ray is not installed: pip install "decorr-jax[ray]"') from None
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address is None:
        settings |= {"num_cpus": len(processes.cores()), "include_dashboard": False}
        settings["_node_ip_address"] = "127.0.0.1"
    else:
        _check_reachable(address)
    # Every machine runs this code, whatever it has installed.
    ray.init(address or "local", runtime_env={"py_modules": [decorr, experiments]}, **settings)
    try:
        yield {"num_cpus": 1} | ({"num_gpus": 1} if ray.cluster_resources().get("GPU") else {})
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes."""
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
    """How many runs of a cell make a task at most: few on a core, many on a GPU."""
    return 64 if "num_gpus" in resources else 8


def room(resources: Resources) -> Room:
    """Where a task works: how much memory a machine has, it says itself when it gets one."""
    return Room("gpu" if "num_gpus" in resources else "cpu", 1, math.inf)


def run_blocks(
    blocks: Sequence[Work],
    dataset: Dataset,
    read: Callable[[Work], Any],
    checkpoint_seconds: float,
    *,
    resources: Resources,
) -> Iterator[tuple[Work, int, Any]]:
    """Trains blocks on the cluster that is connected to; the driver itself runs nothing on JAX.

    A block whose machine or process dies begins again where `read` says, wherever there is room.

    Args:
      blocks: what to train, begun in this order.
      dataset: their data, sent once to each machine.
      read: a block's last checkpoint, None if there is none.
      checkpoint_seconds: least time between two checkpoints of a block.
      resources: what `connect` gave.

    Yields:
      What `Work.train` does, after the block, of all blocks as it comes.

    Raises:
      RuntimeError: a block raised an error, or died again and again.
    """
    import ray

    task = ray.remote(_run_block).options(num_returns="streaming", max_retries=0, **resources)
    data = ray.put(dataset)

    def begin(block):
        return task.remote(block, data, read(block), checkpoint_seconds, resources["num_cpus"])

    working: dict[Any, Work] = {begin(block): block for block in blocks}
    failed = dict.fromkeys(blocks, 0)
    while working:
        ready: Any = ray.wait(list(working), num_returns=1)[0][0]
        block = working[ready]
        try:
            epoch, checkpoint = ray.get(next(ready))
        except ray.exceptions.RayTaskError as error:
            raise RuntimeError(f"{block.name}: {error.cause!r}") from error
        except ray.exceptions.RayError as error:
            failed[block] += 1
            if failed[block] == _TRIES:
                raise RuntimeError(f"{block.name} died {_TRIES} times: {type(error).__name__}") from error
            del working[ready]
            working[begin(block)] = block
        else:
            yield block, epoch, checkpoint
            if epoch == block.length:
                del working[ready]
            elif checkpoint is not None:
                failed[block] = 0


def _run_block(
    block: Work, dataset: Dataset, checkpoint: Any, checkpoint_seconds: float, cores: int
) -> Iterator[tuple[int, Any]]:
    engine.configure(cores)
    # As many tasks as this machine has cores may be at work on it.
    Room.of(jax.devices(), processes=len(processes.cores()) // cores or 1).check(block, dataset)
    yield from block.train(dataset, checkpoint, checkpoint_seconds, jax.devices())
