"""Table 1 and Figures 1 to 4 in the paper's layout: ours over the seeds, the published numbers beside them.

Each is a function of a sweep, as `compact.load` gives it, and returns a matplotlib figure; nothing is
trained or computed on JAX. Bars are means over seeds with their 95% intervals, dots are seeds, black dashes
what was published. `Missing` says which cells a figure needs and the sweep lacks.
"""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from decorr.config import RELEASED, SIZES
from experiments import compact, intervals, published, style
from experiments.agreement import rebinned

_PUBLISHED = Line2D([], [], label="published", **style.PUBLISHED)


class Missing(Exception):
    """The sweep lacks cells that a figure needs."""


def need(sweep: xr.Dataset, cells: Iterable[str]) -> None:
    """Raises Missing if the sweep lacks any of the cells."""
    if lacking := sorted(set(cells) - set(sweep.cell.values.tolist())):
        raise Missing(f"needs {', '.join(lacking)}")


def table1(sweep: xr.Dataset) -> Figure:
    """Table 1: the units of each layer as printed, and as trained by the released protocol."""
    figure = Figure(figsize=(5.6, 2.2), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    rows = []
    for size in SIZES:
        trained = RELEASED.architecture(size).widths
        rows.append([size.upper(), *published.TABLE_1[size], *trained])
    header = ["size", *(f"layer {i},\n{what}" for what in ("printed", "trained") for i in (1, 2, 3))]
    table = axes.table(rows, colLabels=header, loc="center", cellLoc="right")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, column), cell in table.get_celld().items():
        cell.set_height(0.24 if row == 0 else 0.14)
        cell.set_edgecolor("#cccccc")
        if column > 3 and row:
            cell.set_facecolor("#eef4fa")
    return figure


def figure1(sweep: xr.Dataset) -> Figure:
    """Figure 1: |rho| in layer 1 of HUGE-VANILLANET and HUGE-DROPNET."""
    variants = ("vanilla", "drop")
    need(sweep, (f"huge-{variant}" for variant in variants))
    figure, axes = style.grid(1, 2, width=3.4, height=2.6, sharey=True)
    for ax, variant in zip(axes[0], variants, strict=True):
        cell = sweep.sel(cell=f"huge-{variant}", layer=1)
        _histogram(ax, cell, variant, published.FIGURE_1[variant])
        means = cell.mean_correlation_minibatch.values
        mean, low, high = intervals.of_mean(means[np.isfinite(means)])
        ax.axvspan(low, high, color="red", alpha=0.25, linewidth=0)
        ax.axvline(mean, color="red", linewidth=1)
        ax.axvline(published.FIGURE_1_MEAN[variant], color="black", linewidth=1, linestyle="--")
        ax.set_title(style.name("huge", variant), size=9)
        ax.set_xlabel("|rho|, layer 1", size=8)
        ax.set_xlim(0, 0.8)
    axes[0, 0].set_ylabel("fraction of unit pairs", size=8)
    ours = Line2D([], [], color="red", label="mean |rho|, ours ± 95%")
    theirs = Line2D([], [], color="black", linestyle="--", label="mean |rho|, published")
    style.legend(figure, axes[0, 0], 3, [_PUBLISHED, ours, theirs])
    return figure


def figure2(sweep: xr.Dataset) -> Figure:
    """Figure 2: |rho| in layers 1 to 3 of the huge networks as the penalty's weight rises."""
    need(sweep, (f"huge-{variant}" for variant in published.FIGURE_2))
    figure, axes = style.grid(3, 3, height=1.9, sharex=True, sharey=True)
    for row, (variant, layers) in zip(axes, published.FIGURE_2.items(), strict=True):
        for layer, (ax, histogram) in enumerate(zip(row, layers, strict=True), start=1):
            _histogram(ax, sweep.sel(cell=f"huge-{variant}", layer=layer), variant, histogram)
            ax.set_title(f"{style.name('huge', variant)}, layer {layer}", size=8)
    for ax in axes[-1]:
        ax.set_xlabel("|rho|", size=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("fraction of pairs", size=8)
    style.legend(figure, axes[0, 0], 1, [_PUBLISHED])
    return figure


def _histogram(axes: Axes, cell: xr.Dataset, variant: str, shown: published.Histogram) -> None:
    width = shown.bin_width
    ours = rebinned(cell.histogram_minibatch, width)
    ours = ours[np.isfinite(ours).all(axis=1)]  # without networks that diverged
    places = (np.arange(ours.shape[1]) + 0.5) * width
    axes.bar(places, [style.mean(values) for values in ours.T], width, **style.bar(variant))
    for place, values in zip(places, ours.T, strict=True):
        style.error_bar(axes, place, values, linewidth=0.8, capsize=0)
    axes.plot(places[: len(shown.fractions)], shown.fractions, **style.PUBLISHED | {"markersize": 6})


def figure3(sweep: xr.Dataset) -> Figure:
    """Figure 3: the error's growth from the huge network to smaller ones, after the last epoch."""
    need(sweep, (f"{size}-{variant}" for size in SIZES for variant in published.FIGURE_3))
    error = compact.error(sweep).isel(epoch=-1)
    growth = {
        variant: {
            size: (error.sel(cell=f"{size}-{variant}") - error.sel(cell=f"huge-{variant}")).values
            for size in bars
        }
        for variant, bars in published.FIGURE_3.items()
    }
    return _grouped(growth, published.FIGURE_3, "validation error minus that of HUGE")


def figure4(sweep: xr.Dataset) -> Figure:
    """Figure 4: the error after 2 epochs."""
    need(sweep, (f"{size}-{variant}" for size in SIZES for variant in published.FIGURE_4))
    if published.EARLY not in sweep.epoch:
        raise Missing(f"needs {published.EARLY} epochs")
    early = compact.error(sweep).sel(epoch=published.EARLY)
    errors = {
        variant: {size: early.sel(cell=f"{size}-{variant}").values for size in bars}
        for variant, bars in published.FIGURE_4.items()
    }
    return _grouped(errors, published.FIGURE_4, f"validation error after {published.EARLY} epochs")


def _grouped(values: dict, shown: dict, label: str) -> Figure:
    """Bars of [variant][size], grouped by size, with every seed and the published bars."""
    figure, axes = style.grid(1, 1, width=5.6, height=2.8)
    (ax,) = axes[0]
    sizes, width = list(next(iter(values.values()))), 0.8 / len(values)
    for i, variant in enumerate(values):
        for place, size in enumerate(sizes):
            x = place + (i - (len(values) - 1) / 2) * width
            found = values[variant][size]
            ax.bar(x, style.mean(found), 0.9 * width, **style.bar(variant))
            style.error_bar(ax, x, found)
            style.dots(ax, x, found, 0.8 * width)
            ax.plot(x, shown[variant][size], **style.PUBLISHED)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(sizes)), [size.upper() for size in sizes])
    ax.set_ylabel(label, size=9)
    patches = [Patch(label=style.network(variant), **style.bar(variant)) for variant in values]
    style.legend(figure, ax, len(values) + 1, [*patches, _PUBLISHED])
    return figure
