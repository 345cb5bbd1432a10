"""What a sweep consists of: cells, one size and variant with all its seeds, trained in blocks of seeds."""

import itertools
from dataclasses import asdict, dataclass
from typing import Literal

from decorr.config import Protocol, Size

Precision = Literal["float32", "tensorfloat32"]


@dataclass(frozen=True)
class Cell:
    """What decides a cell's results, up to the machine: stored with them, and compared before reuse."""

    dataset: str
    size: Size
    variant: str
    seeds: int
    """How many networks are trained, with the seeds 0, 1, ..., seeds - 1."""
    protocol: Protocol
    matmul_precision: Precision = "float32"
    """Of the networks' matrix products; the penalty's are always float32. No difference on a CPU."""

    @property
    def name(self) -> str:
        return f"{self.size}-{self.variant}"

    def configuration(self) -> dict:
        """The cell as plain numbers and strings, and what its size and variant stand for."""
        return asdict(self) | {
            "widths": self.protocol.architecture(self.size).widths,
            "regulariser": asdict(self.protocol.regulariser(self.variant)),
        }


@dataclass(frozen=True)
class Block:
    """Those runs of a cell that are trained side by side: of the seeds first, first + 1, ..., last."""

    cell: Cell
    first: int
    last: int

    @property
    def runs(self) -> int:
        return self.last + 1 - self.first

    @property
    def name(self) -> str:
        """The cell's name if the block has all its seeds, else the cell's with the seeds."""
        return self.cell.name + (f".seeds-{self.first}-{self.last}" if self.runs < self.cell.seeds else "")

    def cost(self, features: int) -> int:
        """What training it costs, up to a factor: the number of weights of its networks."""
        widths = (features, *self.cell.protocol.architecture(self.cell.size).widths)
        return self.runs * sum(i * o for i, o in itertools.pairwise(widths))


def cells(
    dataset: str,
    protocol: Protocol,
    sizes: tuple[Size, ...],
    variants: tuple[str, ...],
    seeds: int,
    matmul_precision: Precision = "float32",
) -> tuple[Cell, ...]:
    """All sizes x variants, in that order; ValueError for a size, variant or number that cannot be."""
    for what, found, least in (
        ("seeds", seeds, 1),
        ("epochs", protocol.epochs, 1),
        ("batch size", protocol.optimisation.batch_size, 2),  # one sample has no correlation
        ("number of sizes", len(sizes), 1),
        ("number of variants", len(variants), 1),
    ):
        if found < least:
            raise ValueError(f"{what} must be at least {least}; got {found}")
    for names in (sizes, variants):
        if len(set(names)) < len(names):
            raise ValueError(f"each size and variant can be given once; got {' '.join(names)}")
    grid = tuple(
        Cell(dataset, size, variant, seeds, protocol, matmul_precision)
        for size in sizes
        for variant in variants
    )
    for cell in grid:
        cell.configuration()  # raises for an unknown size or variant
    return grid
