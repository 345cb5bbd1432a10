"""Checks whether each published number lies within the range of a single run of ours."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from experiments.grid.networks import Network
from experiments.grid.protocols import EARLY
from experiments.paper import published
from experiments.statistics import intervals
from experiments.statistics.intervals import Interval
from experiments.store.gathered import cell_of, error, networks


class Published(NamedTuple):
    """A number that the paper gives for one run, and the 95% prediction interval for one run of ours."""

    figure: str
    what: str
    value: float
    interval: Interval
    inside: bool


def compare(sweep: xr.Dataset) -> list[Published]:
    """Compares each published number with our runs, if at least two of our runs measured it.

    A number is inside if the interval, widened by the reading error, contains it. Where the paper shows no
    bar, the interval must reach below the lowest visible bar (Figure 3: below 0). Student's interval assumes
    a normal distribution. If the results of our networks form clusters, the interval is wider than
    necessary. The bins of a histogram come from one network and sum to 1, so they are not independent
    evidence.
    """
    return [
        _judged(figure, what, value, values[np.isfinite(values)])
        for figure, what, value, values in _numbers(sweep)
        if np.isfinite(values).sum() > 1
    ]


def _judged(figure: str, what: str, value: float, values: np.ndarray) -> Published:
    interval = intervals.of_one_run(values)
    reading = published.READING_ERROR[figure]
    if value == 0:
        inside = interval.low - reading <= published.INVISIBLE[figure]
    else:
        inside = interval.low - reading <= value <= interval.high + reading
    return Published(figure, what, value, interval, bool(inside))


def _numbers(sweep: xr.Dataset) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Yields each number's figure, name and published value, and our values [seed]."""
    trained = set(networks(sweep))
    for variant, mean in published.FIGURE_1_MEAN.items():
        if (network := Network("huge", variant)) in trained:
            ours = cell_of(sweep, network).mean_correlation_minibatch.sel(layer=1)
            yield "figure 1 mean", f"{network.name}, layer 1, mean |rho|", mean, ours.values
            yield from _bars("figure 1", sweep, network, 1, published.FIGURE_1[variant])
    for variant, layers in published.FIGURE_2.items():
        if (network := Network("huge", variant)) in trained:
            for layer, histogram in enumerate(layers, start=1):
                yield from _bars("figure 2", sweep, network, layer, histogram)
    for variant, bars in published.FIGURE_3.items():
        for size, value in bars.items():
            network, huge = Network(size, variant), Network("huge", variant)
            if {network, huge} <= trained:
                last = error(cell_of(sweep, network)).isel(epoch=-1)
                last_huge = error(cell_of(sweep, huge)).isel(epoch=-1)
                yield "figure 3", network.name, value, (last - last_huge).values
    for network, value in published.FIGURE_4_BY_NETWORK.items():
        if network in trained and EARLY in sweep.epoch:
            yield "figure 4", network.name, value, error(cell_of(sweep, network)).sel(epoch=EARLY).values


def _bars(
    figure: str, sweep: xr.Dataset, network: Network, layer: int, histogram: published.Histogram
) -> Iterator[tuple[str, str, float, np.ndarray]]:
    ours = rebinned(cell_of(sweep, network).histogram_minibatch.sel(layer=layer), histogram.bin_width)
    for index, value in enumerate(histogram.fractions):
        low = index * histogram.bin_width
        what = f"{network.name}, layer {layer}, |rho| from {low:.3g} to {low + histogram.bin_width:.3g}"
        yield figure, what, value, ours[:, index]


def rebinned(fractions: xr.DataArray, bin_width: float) -> np.ndarray:
    """Merges the bins of fractions [seed, bin] into bins of `bin_width`, a multiple of the stored width."""
    values = fractions.transpose("seed", "bin").values
    merged = round(bin_width * values.shape[1])
    return values.reshape(len(values), -1, merged).sum(axis=-1)


def shares(compared: Sequence[Published]) -> dict[str, tuple[int, int]]:
    """Returns, for each figure and in all, how many published numbers lie inside our intervals and how many
    were compared. Invisible bars are counted separately."""
    counted: dict[str, tuple[int, int]] = {}
    for number in compared:
        name = number.figure if number.value else f"{number.figure}, no bar to be seen"
        inside, of = counted.get(name, (0, 0))
        counted[name] = inside + number.inside, of + 1
    if counted:
        counted["all"] = sum(number.inside for number in compared), len(compared)
    return counted
