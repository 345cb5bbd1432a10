"""A study beyond the paper: the networks that it trains, and how it measures, judges and shows them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import xarray as xr
from matplotlib.figure import Figure

from experiments.grid.cells import Cell
from experiments.page.tables import Table
from experiments.statistics.verdicts import Verdict
from experiments.store.gathered import networks

if TYPE_CHECKING:  # experiments.data.load imports JAX
    from experiments.data.load import Dataset

MARGIN = 0.001
"""An error counts as no worse than another error if it is larger by at most this: 0.1 percentage points."""

Results = Mapping[str, xr.Dataset]
"""Sweeps and measurements, each by the name of its file."""


class Exhibit(NamedTuple):
    """A picture with its text and tables."""

    name: str
    """The name of the files with the picture and the tables."""
    title: str
    text: Callable[[xr.Dataset], str]
    figure: Callable[[xr.Dataset], Figure]
    tables: Callable[[xr.Dataset], Sequence[Table]]
    """Returns the tables. They have no rows if a sweep has nothing to show."""


@dataclass(frozen=True)
class Study:
    """A question that the paper leaves open. `experiments.reproduce` trains its networks, and the paper's
    page shows its results."""

    name: str
    """The name of the file with the study's results."""
    cells: tuple[Cell, ...]
    """The networks that the study needs."""
    measure: "Callable[[Path, Sequence[Cell], Dataset], xr.Dataset] | None" = None
    """Measures the networks, given the folder of the cells, the cells and their data. The measurements are
    stored instead of the sweep. None: the sweep is stored."""
    dimensions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The axes of each variable that `measure` returns."""
    judge: Callable[[xr.Dataset, xr.Dataset], tuple[Verdict, ...]] | None = None
    """Returns the verdicts, given the study's results and the paper's own sweep. None: the study judges no
    sentence."""
    exhibit: Exhibit | None = None

    def verdicts(self, results: Results, main: xr.Dataset) -> tuple[Verdict, ...]:
        """Returns the study's verdicts on the paper's sentences; () until its networks are trained."""
        mine = self.find(results)
        return () if mine is None or self.judge is None else self.judge(mine, main)

    def find(self, results: Results) -> xr.Dataset | None:
        """Returns the study's results; None until all of its networks are trained."""
        mine = results.get(self.name)
        if mine is None or self.measure:
            return mine
        return mine if {cell.network for cell in self.cells} <= {*networks(mine)} else None


def renamed(verdict: Verdict, study: str) -> Verdict:
    """Returns a verdict with the name of a study added to its claim."""
    return replace(verdict, claim=f"{verdict.claim}-{study}")
