"""What the penalty does to the error: the pictures of README.md and weights.md.

    python docs/learning.py

draws learning.svg and weights.svg beside this file from the committed reference run; three seconds.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.page import drawing
from experiments.paper.report import REFERENCE
from experiments.statistics import intervals
from experiments.store import compact

LINES = {"vanilla": ("0", "#555555"), "corr-0.1": ("0.002", "#56B4E9"), "corr-1.0": ("0.02", "#D55E00")}
"""The paper's name of a variant -> its weight in decorr, and a colour."""
SETS = {
    "digits": ("digits: 1,250 images", 1_250),
    "mnist": ("MNIST: 50,000 images", 50_000),
}
BATCH = 50


def errors(name: str, variant: str) -> np.ndarray:
    """Validation errors of the largest network in %, [seed, epoch]."""
    sweep = compact.load(REFERENCE / f"{name}.nc")
    return 100 * sweep.validation_error.sel(cell=f"huge-{variant}").values


def draw_steps(path: Path) -> None:
    """Error against update steps, for both sets."""
    with drawing.settings():
        figure, axes = drawing.grid(1, 2, width=3.6, height=2.9)
        for ax, (name, (title, images)) in zip(axes[0], SETS.items(), strict=True):
            _panel(ax, name, images // BATCH)
            ax.set_title(title, size=10)
            ax.set_xlabel("update steps", size=9)
        axes[0, 0].set_ylabel("validation error, %", size=9)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)


def _panel(ax: Axes, name: str, steps_an_epoch: int) -> None:
    means = {}
    for variant, (weight, colour) in LINES.items():
        values = errors(name, variant)
        steps = steps_an_epoch * np.arange(1, values.shape[1] + 1)
        found = [intervals.of_mean(column) for column in values.T]
        means[variant] = np.array([each.estimate for each in found])
        ax.plot(steps, means[variant], color=colour, linewidth=1.6, label=f"weight {weight}")
        low, high = [each.low for each in found], [each.high for each in found]
        ax.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    ahead = means["corr-1.0"] < means["vanilla"]
    ends = ax.get_xaxis_transform()
    ax.fill_between(
        steps,
        0,
        1,
        where=ahead,
        transform=ends,
        color="#D55E00",
        alpha=0.08,
        linewidth=0,
        label="0.02 is ahead of 0",
    )
    ax.set_xscale("log")
    ax.set_xlim(steps[0], steps[-1])
    ax.xaxis.set_major_formatter("{x:,.0f}")
    drawing.log_scale(ax)


WEIGHTS = {"mnist": (0.0, 0.1, 1.0), "mnist-weights": (0.01, 0.03, 0.3, 3.0, 10.0)}
"""The sweeps that have the paper's weights."""


def draw_weights(path: Path) -> None:
    """Error, and P of each layer, against the weight: the largest network on MNIST."""
    networks = {
        weight / BATCH: compact.load(REFERENCE / f"{sweep}.nc").sel(
            cell=f"huge-corr-{weight}" if weight else "huge-vanilla"
        )
        for sweep, weights in WEIGHTS.items()
        for weight in weights
    }
    weights = sorted(networks)
    places = np.arange(len(weights))
    with drawing.settings():
        figure, (axes,) = drawing.grid(1, 2, width=3.6, height=2.9)
        for epoch, colour in ((2, "#56B4E9"), (100, "#D55E00")):
            values = [100 * networks[weight].validation_error.sel(epoch=epoch).values for weight in weights]
            kept = [each[each < 50] for each in values]
            means = [each.mean() if each.size else np.nan for each in kept]
            axes[0].plot(places, means, "o-", color=colour, label=f"after {epoch} epochs")
            for place, each in zip(places, kept, strict=True):
                axes[0].scatter([place] * each.size, each, s=8, color=colour, alpha=0.4, linewidths=0)
        for place, weight in enumerate(weights):
            last = networks[weight].validation_error.sel(epoch=100).values
            if lost := int((~(last < 0.5)).sum()):
                look = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top", "size": 6}
                axes[0].annotate(f"{lost} of {last.size}\ndiverged", (place, 1.0), **look)
        axes[0].set_ylabel("validation error, %", size=9)
        axes[0].legend(frameon=False, fontsize=8)
        drawing.log_scale(axes[0])
        for layer, colour in ((1, "#0072B2"), (2, "#009E73"), (3, "#CC79A7")):
            values = [networks[weight].penalty.sel(epoch=100, layer=layer).values for weight in weights]
            finite = [each[np.isfinite(each) & (each > 0)] for each in values]
            means = [each.mean() if each.size else np.nan for each in finite]
            axes[1].plot(places, means, "o-", color=colour, label=f"layer {layer}")
        axes[1].set_ylabel("P after 100 epochs (1/2: uncorrelated)", size=9)
        axes[1].legend(frameon=False, fontsize=8)
        for ax in axes:
            ax.set_xticks(places, [f"{weight:g}" for weight in weights], rotation=40)
            ax.set_xlabel("weight", size=9)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)


if __name__ == "__main__":
    draw_steps(Path(__file__).with_name("learning.svg"))
    draw_weights(Path(__file__).with_name("weights.svg"))
