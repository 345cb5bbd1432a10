"""What the penalty's weight does to error and P: the picture of weights.md.

    python docs/weights.py

draws weights.svg beside this file from the committed reference run. This takes three seconds.
"""

from pathlib import Path

import numpy as np

from experiments.page import drawing
from experiments.paper.report import REFERENCE
from experiments.store import compact

BATCH = 50

WEIGHTS = {"mnist": (0.0, 0.1, 1.0), "mnist-weights": (0.01, 0.03, 0.3, 3.0, 10.0)}
"""Maps each sweep to its penalty weights, on the paper's scale."""


def draw(path: Path) -> None:
    """Draws error and each layer's P against the weight, for the largest network on MNIST."""
    networks = {
        weight / BATCH: loaded.sel(cell=f"huge-corr-{weight}" if weight else "huge-vanilla")
        for sweep, weights in WEIGHTS.items()
        for loaded in [compact.load(REFERENCE / f"{sweep}.nc")]
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
                drawing.note(axes[0], place, 1.0, [f"{lost} of {last.size}", "diverged"])
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
    draw(Path(__file__).with_name("weights.svg"))
