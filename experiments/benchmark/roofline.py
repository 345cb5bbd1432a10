"""Predicts the time of a training step on GPUs from the compiled step, without a GPU.

The time of a program of n networks has three lower bounds. They are the times that the device needs for the
arithmetic at peak speed, for the memory traffic at full bandwidth, and for launching the kernels one after
the other. The step is compiled on this machine. If this machine has no GPU, traffic and kernels are those of
a program compiled for a CPU. A program for a GPU has other traffic and other kernels, often fewer.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from decorr.training import steps
from decorr.training.split import Split
from experiments.benchmark import task
from experiments.benchmark.training import TRIED
from experiments.benchmark.workers import Group, Work, together
from experiments.grid.networks import SIZES, Size, Variant
from experiments.grid.protocols import RELEASED, VARIANTS
from experiments.run import epochs
from experiments.run.engine import Engine, initial
from experiments.run.layout import Layout

WIDTHS = (1, 4, 16, 64, 256, 1024)
SEEDS, SAMPLES = 16, 50_000
"""The size of the predicted sweep: seeds of each network, and training samples in MNIST."""
_NO_KERNELS = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "copy"}


class Device(NamedTuple):
    """Peak speeds of a device, from NVIDIA's data sheets of the H100 and the H200, both SXM. No program
    reaches them."""

    name: str
    flops: float
    """Multiplications and additions per second in float32: without the tensor cores, which
    `--matmul-precision float32` does not use."""
    bandwidth: float
    """Memory bandwidth, in bytes per second."""
    launch: float = 2.5e-6
    """Seconds that a short kernel takes in a stream, mainly for its launch. No data sheet has this number; 2
    to 3 microseconds are usual."""
    tensorfloat32: float = 494e12
    """Multiplications and additions per second in TensorFloat-32 on the tensor cores, for dense matrices."""


DEVICES = (Device("H100 SXM", 67e12, 3.35e12), Device("H200", 67e12, 4.8e12))


class Cost(NamedTuple):
    """The cost of a training step of one network, in a program of many networks."""

    flops: float
    bytes: float
    kernels: int
    """Number of kernels in the program. It does not depend on the number of networks."""


def cost(size: Size, variant: str, networks: int = 4) -> Cost:
    """Returns the cost of one step, from the compiler's counts. The step is compiled alone, because the
    compiler counts a loop's body only once."""
    cell = task.cell("mlp", size, Variant.parse(variant), networks)
    trainer = epochs.trainer_of(cell, task.CLASSES, (task.SIDE, task.SIDE, 1), SAMPLES)
    batch, pixels = trainer.batch_size, task.SIDE**2
    numbers = jax.tree.map(lambda _: jnp.zeros(networks), cell.variant.regulariser(RELEASED))
    shape: Any = jax.ShapeDtypeStruct
    start = initial(Engine(trainer, Layout.of(jax.devices()[:1])), pixels)
    states = start.eval_shape(shape((networks,), jnp.int32))._replace(regulariser=numbers)
    number = shape((), jnp.float32)
    train = Split(shape((batch, pixels), jnp.uint8), shape((batch,), jnp.int32), number, number)

    def step(state: Any, index: jax.Array, train: Split) -> Any:
        state, minibatch = steps.step(trainer, state, *train.batch(index))
        return state, minibatch.nll, minibatch.error

    program: Any = jax.jit(jax.vmap(step, in_axes=(0, 0, None)), donate_argnums=0)
    compiled = program.lower(states, shape((networks, batch), jnp.int32), train).compile()
    counted, entry = compiled.cost_analysis(), compiled.as_text().split("\nENTRY ")[1]
    kinds = re.findall(r" = (?:\([^)]*\)|\S+) ([\w-]+)\(", entry)
    kernels = sum(kind not in _NO_KERNELS for kind in kinds)
    return Cost(counted["flops"] / networks, counted["bytes accessed"] / networks, kernels)


def costs(sizes: Sequence[Size], variants: Sequence[str]) -> Work:
    """Computes the cost of each variant of each size, in a worker."""
    return lambda: None, {size: {name: cost(size, name) for name in variants} for size in sizes}


def predict(device: Device, cost: Cost, networks: int) -> dict[str, Any]:
    """Returns lower bounds on the seconds of a step, per network, in a program of `networks` networks.

    Also returns the largest bound (`step`), the name of that bound (`binds`), and how many networks a program
    needs so that launches do not limit it (`enough`). `tensorfloat32` is the bound of the arithmetic on
    tensor cores.
    """
    bounds = {
        "compute": cost.flops / device.flops,
        "memory": cost.bytes / device.bandwidth,
        "launches": cost.kernels * device.launch / networks,
    }
    binds = max(bounds, key=lambda name: bounds[name])
    enough = math.ceil(bounds["launches"] * networks / max(bounds["compute"], bounds["memory"]))
    tensorfloat32 = cost.flops / device.tensorfloat32
    return bounds | {"tensorfloat32": tensorfloat32, "binds": binds, "enough": enough, "step": bounds[binds]}


def rows(sizes: Sequence[Size]) -> Iterator[dict[str, Any]]:
    """Yields a row for each device, size and number of networks in a program. Then yields the cells of a
    sweep on the last device, and their totals."""
    variants = [variant.name for variant in VARIANTS]
    with Group(f"{__name__}:costs", together(), sizes=list(SIZES), variants=variants) as group:
        (report,) = group.reports()
    known = {(size, name): Cost(*report[size][name]) for size in SIZES for name in variants}
    for device in DEVICES:
        for size in sizes:
            for networks in WIDTHS:
                yield _row(device, f"{size}-{TRIED}", known[size, TRIED], networks)
    trained = SEEDS * RELEASED.epochs * (SAMPLES // RELEASED.optimisation.batch_size)
    cells = [_row(DEVICES[-1], f"{size}-{name}", cost, SEEDS) for (size, name), cost in known.items()]
    yield from (row | {"seconds": trained * row["step"]} for row in cells)
    free = sum(max(row["compute"], row["memory"]) for row in cells)
    for name, step in (
        ("all of them", sum(row["step"] for row in cells)),
        ("all, if launches were free", free),
    ):
        yield {"device": DEVICES[-1].name, "network": name, "networks": SEEDS, "seconds": trained * step}


def _row(device: Device, network: str, cost: Cost, networks: int) -> dict[str, Any]:
    return {"device": device.name, "network": network, "networks": networks} | predict(device, cost, networks)
