"""Explains, by the number of update steps, why the digits and MNIST seem to disagree."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.grid.networks import SIZES, Network
from experiments.grid.protocols import BY_WEIGHT, CORR_10, EARLY, VANILLA
from experiments.page import drawing, style
from experiments.page.drawing import Missing
from experiments.paper.answer import name_of
from experiments.store.gathered import cell_of, configuration, error, networks

IMAGES = {"digits": 1_250, "mnist": 50_000, "fashion_mnist": 50_000}
"""Number of training images of each data set."""


def steps(sweep: xr.Dataset) -> np.ndarray:
    """Returns the number of update steps [epoch] until the end of each epoch."""
    stored = configuration(sweep)
    batch_size: int = stored["protocol"]["optimisation"]["batch_size"]
    return sweep.epoch.values * (IMAGES[stored["dataset"]] // batch_size)


def contrast(digits: xr.Dataset, mnist: xr.Dataset) -> str:
    """Returns a text on why the penalty helps on the digits and not on MNIST; "" if the sweeps do not show
    this."""
    both = {*networks(digits)} & {*networks(mnist)}
    sizes = [size for size in SIZES if {Network(size, VANILLA), Network(size, CORR_10)} <= both]
    if not sizes or _protocol(digits) != _protocol(mnist):
        return ""
    gains = [_gain(sweep, Network(sizes[-1], CORR_10)) for sweep in (digits, mnist)]
    seen, early = [list(steps(sweep)) for sweep in (digits, mnist)], steps(mnist)[EARLY - 1]
    if early not in seen[0] or not gains[0][-1] > 0 > gains[1][-1]:
        return ""
    if min(gain[each.index(early)] for gain, each in zip(gains, seen, strict=True)) <= 0:
        return ""
    return (
        f"On the digits, the error of the {sizes[-1]} network ends {gains[0][-1]:.1f} points lower with "
        f"weight 1.0 than without the penalty. On MNIST, it ends {-gains[1][-1]:.1f} points higher. "
        f"The reason is the number of update steps: {digits.sizes['epoch']} epochs are {seen[0][-1]:,} steps "
        f"on the digits, and {mnist.sizes['epoch']} epochs are {seen[1][-1]:,} steps on MNIST. "
        f"At step {early:,}, the error is lower with the penalty on both data sets. "
        f"On MNIST, it is lower for the last time at step {seen[1][np.flatnonzero(gains[1] > 0)[-1]]:,}."
    )


def _protocol(sweep: xr.Dataset) -> dict:
    """Returns a sweep's protocol, without the number of epochs."""
    return {**configuration(sweep)["protocol"], "epochs": None}


def _gain(sweep: xr.Dataset, network: Network) -> np.ndarray:
    """Returns, for each epoch, vanilla's mean error minus the network's mean error, in points."""
    vanilla, penalised = (
        cell_of(sweep, each).validation_error.mean("seed").values
        for each in (Network(network.size, VANILLA), network)
    )
    return 100 * (vanilla - penalised)


def figure(*sweeps: xr.Dataset) -> Figure:
    """Draws the huge network's validation error against update steps, with a panel for each sweep. Steps at
    which weight 0.02 has a lower mean error than weight 0 are shaded. Weights are on the library's scale.
    """
    if len(sweeps) < 2:
        raise Missing("needs the digits and MNIST")
    panels, axes = drawing.grid(1, len(sweeps), width=3.0, height=2.6, sharex=True)
    for ax, sweep in zip(axes[0], sweeps, strict=True):
        batch_size = configuration(sweep)["protocol"]["optimisation"]["batch_size"]
        for variant in BY_WEIGHT:
            values = 100 * error(cell_of(sweep, Network("huge", variant))).values
            drawing.band(ax, steps(sweep), values, variant)
            ax.lines[-1].set_label(f"weight {(variant.number or 0) / batch_size:g}")
        ahead = _gain(sweep, Network("huge", CORR_10)) > 0
        shade = {"color": style.colour(CORR_10), "label": "0.02 is ahead of 0"}
        ax.fill_between(steps(sweep), 0, 1, where=ahead, transform=ax.get_xaxis_transform(),
                        alpha=0.1, linewidth=0, **shade)  # fmt: skip
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:,.0f}")
        drawing.log_scale(ax)
        name = configuration(sweep)["dataset"]
        ax.set_title(f"{name_of(name)}: {IMAGES[name]:,} training images", size=9)
        ax.set_xlabel("update steps", size=9)
    axes[0, 0].set_ylabel("validation error (%)", size=9)
    drawing.legend(panels, axes[0, 0])
    return panels
