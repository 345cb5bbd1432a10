"""A page about any sweep: its table, curves and paired differences."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.grid.networks import SIZES, Size, Variant
from experiments.grid.protocols import EARLY
from experiments.page import drawing, summary
from experiments.page.evidence import evidence
from experiments.statistics import intervals
from experiments.statistics.verdicts import Outcome, Verdict, above_zero
from experiments.store import gathered as stored
from experiments.store.gathered import networks

WORDS: dict[Outcome, str] = {"for": "better", "against": "worse", "open": "inconclusive"}
# Grey, then the palette of Okabe and Ito.
_COLOURS = ("#555555", "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000")
_DASHES = ("-", "--", "-.", ":")


def write(sweep: xr.Dataset, out: Path, sentences: Sequence[str] = ()) -> Path:
    """Writes report.html, and its figures/NAME.svg and .png, into a folder.

    Args:
      sweep: a sweep from `gather`.
      out: the folder.
      sentences: text that the page shows before its table.

    Returns:
      The path of the page.
    """
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    configuration, judged = stored.configuration(sweep), differences(sweep)
    found = summary.rows(sweep, EARLY)
    kind = ", convolutional networks" if configuration["protocol"]["family"] == "conv" else ""
    title = f"{sweep.sizes['cell']} networks, {sweep.sizes['seed']} seeds, {sweep.sizes['epoch']} epochs"
    page = drawing.template(Path(__file__).parent / "overview.html.j2").render(
        title=f"protocol {configuration['protocol']['name']}{kind}: {title}",
        dataset=configuration["dataset"],
        sentences=sentences,
        rows=[{name: row[name] for name in ("network", "error, last epoch")} | row for row in found],
        pictures=[
            drawing.picture(folder, "curves", "Training", functools.partial(curves, sweep)),
            drawing.picture(
                folder,
                "differences",
                "Differences in error after the last epoch",
                functools.partial(evidence, judged, WORDS, ("← worse", "better →")),
            ),
        ],
        comparisons=[each for each in judged.comparisons if each.finite.size],
        words=WORDS,
        configuration=json.dumps(configuration, indent=1),
    )
    drawing.write_text(out / "report.html", page)
    return out / "report.html"


def differences(sweep: xr.Dataset) -> Verdict:
    """Compares each size's first variant with the size's other variants, by the first error minus the other.
    Errors are after the last epoch and paired by seed. The first variant is vanilla, if vanilla was trained.
    """
    last = sweep.validation_error.isel(epoch=-1)
    pairs: dict[str, np.ndarray] = {}
    for size, variants in _by_size(sweep).items():
        first, *others = (f"{size}-{variant.name}" for variant in variants)
        for other in others:
            pairs[f"{first} - {other}"] = last.sel(cell=first).values - last.sel(cell=other).values
    return Verdict("differences", "", "", above_zero(pairs) if pairs else ())


def curves(sweep: xr.Dataset) -> Figure:
    """Draws validation error and mean |rho| over epochs, where |rho| is averaged over layers. There is a
    column for each size, and a line with a 95% band for each variant."""
    by_size = _by_size(sweep)
    names = list(dict.fromkeys(variant.name for variants in by_size.values() for variant in variants))
    figure, axes = drawing.grid(2, len(by_size), width=3.0, height=2.3, sharey="row")
    errors, correlations = 100 * stored.error(sweep), sweep.mean_correlation.mean("layer")
    for column, (size, variants) in zip(axes.T, by_size.items(), strict=True):
        for variant in variants:
            for ax, values in zip(column, (errors, correlations), strict=True):
                line = values.sel(cell=f"{size}-{variant.name}")
                _line(ax, line, variant.name, names.index(variant.name))
        column[0].set_title(size.upper(), size=9)
        column[1].set_xlabel("epoch", size=9)
        column[1].set_ylim(0)
        for ax in column:
            drawing.log_epochs(ax, int(sweep.epoch.values[-1]))
    drawing.log_scale(axes[0, 0])
    axes[0, 0].set_ylabel("validation error (%)", size=9)
    axes[1, 0].set_ylabel("mean |rho|", size=9)
    drawing.legend(figure, axes[0, 0], extra=[line for ax in axes[0] for line in ax.lines])
    return figure


def _line(ax: Axes, values: xr.DataArray, name: str, place: int) -> None:
    means = [intervals.of_mean(each[np.isfinite(each)]) for each in values.transpose("epoch", "seed").values]
    colour = _COLOURS[place % len(_COLOURS)]
    ax.plot(values.epoch, [mean.estimate for mean in means], _DASHES[place % 4], color=colour, label=name)
    low, high = [mean.low for mean in means], [mean.high for mean in means]
    ax.fill_between(values.epoch, low, high, color=colour, alpha=0.2, linewidth=0)


def _by_size(sweep: xr.Dataset) -> Mapping[Size, list[Variant]]:
    """Returns the trained variants of each size, in order."""
    found = {size: [each.variant for each in networks(sweep) if each.size == size] for size in SIZES}
    return {size: variants for size, variants in found.items() if variants}
