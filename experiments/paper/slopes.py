"""The PReLU slopes that networks learn. Slopes divide the seeds of HUGE-VANILLANET into groups."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.grid.networks import Network
from experiments.page import drawing, style
from experiments.page.drawing import Missing
from experiments.store.gathered import cell_of, networks

FLAT = 0.5
"""A PReLU slope from -FLAT to FLAT is closer to 0 (a ReLU) than to -1 (the absolute value) or 1 (the
identity)."""


def by_slope(sweep: xr.Dataset, network: Network) -> dict[str, np.ndarray]:
    """Groups the seeds of a cell by the PReLU slope of layer 1 after training. Returns a mask [seed] for each
    group; {} if slopes are not learned."""
    if network not in networks(sweep) or not sweep.sizes.get("slope_layer"):
        return {}
    slope = cell_of(sweep, network).slope.isel(epoch=-1, slope_layer=0).values
    return {
        f"below -{FLAT}": slope < -FLAT,
        f"from -{FLAT} to {FLAT}": abs(slope) <= FLAT,
        f"above {FLAT}": slope > FLAT,
    }


def slopes(sweep: xr.Dataset) -> Figure:
    """Draws every network's PReLU slope of layer 1 after training, and the sizes of `by_slope`'s groups."""
    if not sweep.sizes["slope_layer"]:
        raise Missing("needs learned slopes")
    sizes = drawing.sizes(sweep)
    figure, axes = drawing.grid(1, len(sizes), width=2.0, height=2.4, sharey=True)
    for ax, size in zip(axes[0], sizes, strict=True):
        variants = drawing.variants(sweep, size)
        for place, variant in enumerate(variants):
            network = Network(size, variant)
            last = cell_of(sweep, network).slope.isel(epoch=-1, slope_layer=0).values
            drawing.dots(ax, place, last, 0.6, s=14, color=style.colour(variant), alpha=0.8)
            counts = "/".join(str(group.sum()) for group in by_slope(sweep, network).values())
            ax.annotate(counts, (place, 0.01), xycoords=("data", "axes fraction"), size=7, ha="center")
        ax.axhspan(-FLAT, FLAT, color="black", alpha=0.1, linewidth=0)
        ax.set_title(size.upper(), size=9)
        ax.set_xticks(range(len(variants)), [variant.name for variant in variants], rotation=45, size=7)
        ax.set_xlim(-0.6, len(variants) - 0.4)
    axes[0, 0].margins(y=0.12)  # room for the counts
    axes[0, 0].set_ylabel("PReLU slope of layer 1 after training", size=9)
    return figure
