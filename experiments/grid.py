"""The list of cells that a sweep consists of. A cell is one network size and variant, all its seeds."""

from dataclasses import asdict, dataclass

from decorr.config import Protocol, Size


@dataclass(frozen=True)
class Cell:
    """What decides a cell's results, up to the machine: stored with them, and compared before reuse."""

    dataset: str
    size: Size
    variant: str
    seeds: int
    """How many networks are trained, with the seeds 0, 1, ..., seeds - 1."""
    protocol: Protocol

    @property
    def name(self) -> str:
        return f"{self.size}-{self.variant}"

    def configuration(self) -> dict:
        """The cell as plain numbers and strings, and what its size and variant stand for."""
        return asdict(self) | {
            "widths": self.protocol.architecture(self.size).widths,
            "regulariser": asdict(self.protocol.regulariser(self.variant)),
        }


def cells(
    dataset: str, protocol: Protocol, sizes: tuple[Size, ...], variants: tuple[str, ...], seeds: int
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
    grid = tuple(Cell(dataset, size, variant, seeds, protocol) for size in sizes for variant in variants)
    for cell in grid:
        cell.configuration()  # raises for an unknown size or variant
    return grid
