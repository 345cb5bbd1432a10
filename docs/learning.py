"""When the penalty is ahead: the picture at the top of README.md.

    python docs/learning.py

draws learning.svg beside this file from the committed reference run; two seconds.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.page import drawing
from experiments.paper.report import REFERENCE
from experiments.statistics import intervals
from experiments.store import compact

LINES = {"vanilla": ("0", "#555555"), "corr-0.1": ("0.002", "#56B4E9"), "corr-1.0": ("0.02", "#D55E00")}
"""By the paper's name of a variant, the weight that decorr takes and a colour."""
SETS = {
    "digits": ("digits: 1,250 images", 1_250),
    "mnist": ("MNIST: 50,000 images", 50_000),
}
BATCH = 50


def errors(name: str, variant: str) -> np.ndarray:
    """Validation errors of the largest network in %, [seed, epoch]."""
    sweep = compact.load(REFERENCE / f"{name}.nc")
    return 100 * sweep.validation_error.sel(cell=f"huge-{variant}").values


def draw(path: Path) -> None:
    """Error against update steps, of both sets."""
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


if __name__ == "__main__":
    draw(Path(__file__).with_name("learning.svg"))
