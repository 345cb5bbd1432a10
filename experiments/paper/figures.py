"""Draws Table 1 and Figures 1 to 4 in the paper's layout, with our seeds beside the published numbers.

Each function takes a sweep from `gather`, and returns a matplotlib figure. Nothing is trained here, and JAX
is not used. Bars are means over seeds with their 95% intervals, dots are seeds, and black dashes are the
published numbers. If the sweep lacks cells that a figure needs, `Missing` names these cells.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from experiments.grid.networks import SIZES, Network, Size, Variant
from experiments.grid.protocols import DROP, EARLY, RELEASED, VANILLA
from experiments.page import drawing, style
from experiments.page.drawing import Missing, need
from experiments.paper import published
from experiments.paper.agreement import rebinned
from experiments.statistics import intervals
from experiments.store.gathered import cell_of, configuration, error

PUBLISHED: dict[str, Any] = {
    "color": "black",
    "marker": "_",
    "markersize": 11,
    "markeredgewidth": 2,
    "linestyle": "none",
}
"""The style of the markers of published numbers."""
_PUBLISHED = Line2D([], [], label="published", **PUBLISHED)


def table1(sweep: xr.Dataset) -> Figure:
    """Draws Table 1: the units of each layer, as printed and as trained with the released protocol. In
    convolutional networks, channels are the units."""
    figure = Figure(figsize=(5.6, 2.2), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    protocol = replace(RELEASED, family=configuration(sweep)["protocol"]["family"])
    rows = [[size.upper(), *published.TABLE_1[size], *protocol.architecture(size).widths] for size in SIZES]
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
    """Draws Figure 1: |rho| in layer 1 of HUGE-VANILLANET and HUGE-DROPNET."""
    variants = VANILLA, DROP
    need(sweep, (Network("huge", variant) for variant in variants))
    figure, axes = drawing.grid(1, 2, width=3.4, height=2.6, sharey=True)
    for ax, variant in zip(axes[0], variants, strict=True):
        cell = cell_of(sweep, Network("huge", variant)).sel(layer=1)
        _histogram(ax, cell, variant, published.FIGURE_1[variant])
        means = cell.mean_correlation_minibatch.values
        mean, low, high = intervals.of_mean(means[np.isfinite(means)])
        ax.axvspan(low, high, color="red", alpha=0.25, linewidth=0)
        ax.axvline(mean, color="red", linewidth=1)
        ax.axvline(published.FIGURE_1_MEAN[variant], color="black", linewidth=1, linestyle="--")
        ax.set_title(Network("huge", variant).title, size=9)
        ax.set_xlabel("|rho| between two units of layer 1", size=9)
        ax.set_xlim(0, 0.8)
    axes[0, 0].set_ylabel("share of unit pairs (%)", size=9)
    ours = Line2D([], [], color="red", label="mean |rho|, ours ± 95%")
    theirs = Line2D([], [], color="black", linestyle="--", label="mean |rho|, published")
    drawing.legend(figure, axes[0, 0], 3, [_PUBLISHED, ours, theirs])
    return figure


def figure2(sweep: xr.Dataset) -> Figure:
    """Draws Figure 2: |rho| in layers 1 to 3 of the huge networks, with a line for each penalty weight."""
    need(sweep, (Network("huge", variant) for variant in published.FIGURE_2))
    figure, axes = drawing.grid(1, 3, width=2.0, height=2.6, sharey=True)
    for variant, layers in published.FIGURE_2.items():
        cell = cell_of(sweep, Network("huge", variant))
        for layer, (ax, shown) in enumerate(zip(axes[0], layers, strict=True), start=1):
            ours, places = _shares(cell.sel(layer=layer), shown)
            drawing.band(ax, places, ours, variant)
            theirs = PUBLISHED | {"color": style.colour(variant)}
            ax.plot(places[: len(shown.fractions)], 100 * np.array(shown.fractions), **theirs)
            ax.set_title(f"HUGE, layer {layer}", size=9)
    for ax in axes[0]:
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 104)  # leaves room for markers at 100%
        ax.set_xlabel("|rho| between two units", size=9)
    axes[0, 0].set_ylabel("share of unit pairs (%)", size=9)
    drawing.legend(figure, axes[0, 0], 4, [_PUBLISHED])
    return figure


def _shares(cell: xr.Dataset, shown: published.Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Returns the shares of pairs [seed, bin] in %, without diverged networks, and the bins' middles."""
    ours = 100 * rebinned(cell.histogram_minibatch, shown.bin_width)
    return ours[np.isfinite(ours).all(axis=1)], (np.arange(ours.shape[1]) + 0.5) * shown.bin_width


def _histogram(axes: Axes, cell: xr.Dataset, variant: Variant, shown: published.Histogram) -> None:
    ours, places = _shares(cell, shown)
    axes.bar(places, [drawing.mean(values) for values in ours.T], shown.bin_width, **style.bar(variant))
    for place, values in zip(places, ours.T, strict=True):
        drawing.error_bar(axes, place, values, linewidth=0.8, capsize=0)
    heights = 100 * np.array(shown.fractions)
    axes.plot(places[: len(heights)], heights, **PUBLISHED | {"markersize": 6})


def figure3(sweep: xr.Dataset) -> Figure:
    """Draws Figure 3: the error's growth from the huge network to smaller networks, after the last epoch."""
    need(sweep, (Network(size, variant) for size in SIZES for variant in published.FIGURE_3))

    def last(network: Network) -> np.ndarray:
        return error(cell_of(sweep, network)).isel(epoch=-1).values

    growth = {
        variant: {size: last(Network(size, variant)) - last(Network("huge", variant)) for size in bars}
        for variant, bars in published.FIGURE_3.items()
    }
    return _grouped(
        growth, published.FIGURE_3, "growth of the validation error\nfrom HUGE (percentage points)"
    )


def figure4(sweep: xr.Dataset) -> Figure:
    """Draws Figure 4: the error after 2 epochs."""
    need(sweep, published.FIGURE_4_BY_NETWORK)
    if EARLY not in sweep.epoch:
        raise Missing(f"needs {EARLY} epochs")
    errors = {
        variant: {
            size: error(cell_of(sweep, Network(size, variant))).sel(epoch=EARLY).values for size in bars
        }
        for variant, bars in published.FIGURE_4.items()
    }
    return _grouped(errors, published.FIGURE_4, f"validation error after {EARLY} epochs (%)")


def _grouped(
    values: dict[Variant, dict[Size, np.ndarray]], shown: dict[Variant, dict[Size, float]], label: str
) -> Figure:
    """Draws bars of values[variant][size] in %, grouped by size, with each seed and the published numbers."""
    figure, axes = drawing.grid(1, 1, width=5.6, height=2.8)
    (ax,) = axes[0]
    sizes, width = list(next(iter(values.values()))), 0.8 / len(values)
    for i, variant in enumerate(values):
        for place, size in enumerate(sizes):
            x = place + (i - (len(values) - 1) / 2) * width
            seeds = 100 * values[variant][size]
            ax.bar(x, drawing.mean(seeds), 0.9 * width, **style.bar(variant))
            drawing.error_bar(ax, x, seeds)
            drawing.dots(ax, x, seeds, 0.8 * width)
            ax.plot(x, 100 * shown[variant][size], **PUBLISHED)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(sizes)), [size.upper() for size in sizes])
    ax.set_ylabel(label, size=9)
    patches = [Patch(label=variant.title, **style.bar(variant)) for variant in values]
    drawing.legend(figure, ax, len(values) + 1, [*patches, _PUBLISHED])
    return figure
