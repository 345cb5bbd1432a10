"""Cells and blocks of a sweep. A cell has a size, a variant and all seeds; a block has seeds of one cell that
are trained together."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np

from experiments.grid.networks import Network, Recipe, Size, Variant

Precision = Literal["float32", "tensorfloat32"]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Cell:
    """The networks of one size and variant, for all seeds. The fields determine the cell's results, and are
    stored with the results."""

    dataset: str
    size: Size
    variant: Variant
    seeds: int
    """Number of networks, with the seeds 0, 1, ..., seeds - 1."""
    protocol: Recipe
    matmul_precision: Precision = "float32"
    """Precision of the networks' matrix products on a GPU. The penalty's products are always in float32."""

    @property
    def network(self) -> Network:
        return Network(self.size, self.variant)

    @property
    def name(self) -> str:
        return self.network.name

    def configuration(self) -> dict:
        """Returns the cell's fields as plain numbers and strings, with the widths and the regulariser that
        follow from the fields."""
        return asdict(self) | {
            "variant": self.variant.name,
            "widths": self.protocol.architecture(self.size).widths,
            "regulariser": self.variant.regulariser(self.protocol)._asdict(),
        }


class Work(Protocol):
    """Runs that are trained together, on one device or several. Executors take work in this form."""

    unit: ClassVar[str]
    """Name of a step of the training, such as epoch. Training can be interrupted after each step."""

    @property
    def name(self) -> str: ...

    @property
    def runs(self) -> int: ...

    @property
    def length(self) -> int:
        """Number of steps in the whole training. `unit` names the steps."""

    def cost(self, image_shape: tuple[int, ...]) -> float:
        """Cost of the training, up to a constant factor."""


@dataclass(frozen=True)
class Block:
    """Runs of a cell that are trained together: the seeds first, first + 1, ..., last."""

    unit: ClassVar[str] = "epoch"
    cell: Cell
    first: int
    last: int

    @property
    def runs(self) -> int:
        return self.last + 1 - self.first

    @property
    def name(self) -> str:
        """The cell's name, followed by the block's seeds if the block has only a part of the cell's seeds."""
        return self.cell.name + (f".seeds-{self.first}-{self.last}" if self.runs < self.cell.seeds else "")

    def cost(self, image_shape: tuple[int, ...]) -> int:
        """Cost of an epoch, up to a constant factor: the multiplications for one image in the hidden layers
        of all runs."""
        return self.runs * self.cell.protocol.products(self.cell.size, image_shape)

    @property
    def length(self) -> int:
        return self.cell.protocol.epochs


class Checkpoint(NamedTuple):
    """The states and records of a block, during or after training. Dictionaries map names to arrays
    [run, ...]."""

    state: Arrays
    """The training states; the parameters' names begin with `params.`."""
    history: list[Arrays]
    """One record per epoch."""
    last_epoch: Arrays
    """Arrays that are recorded only at the end of training; empty before."""
    seconds: float
    """Seconds of training so far."""
    devices: str
    """The devices that trained the block."""


def make_cells(
    dataset: str,
    protocol: Recipe,
    sizes: Sequence[Size],
    variants: Sequence[str],
    seeds: int,
    matmul_precision: Precision = "float32",
) -> tuple[Cell, ...]:
    """Returns a cell for each size and variant. Raises ValueError for an invalid size, variant or number."""
    for name, number, least in (
        ("seeds", seeds, 1),
        ("epochs", protocol.epochs, 1),
        ("batch size", protocol.optimisation.batch_size, 2),  # one sample has no correlation
        ("learning rate", protocol.optimisation.learning_rate, 0),
        ("momentum", protocol.optimisation.momentum, 0),
        ("number of sizes", len(sizes), 1),
        ("number of variants", len(variants), 1),
    ):
        if not number >= least:
            raise ValueError(f"{name} must be at least {least}; got {number}")
    parsed = [Variant.parse(name) for name in variants]
    for names, values in ((sizes, sizes), (variants, parsed)):
        if len(set(values)) < len(values):
            raise ValueError(f"each size and each variant may be given only once; got {' '.join(names)}")
    grid = tuple(
        Cell(dataset, size, variant, seeds, protocol, matmul_precision)
        for size in sizes
        for variant in parsed
    )
    for cell in grid:
        cell.configuration()  # raises ValueError for an unknown size
    return grid
