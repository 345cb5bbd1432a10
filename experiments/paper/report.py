"""A sweep as one page: verdicts, figures, agreement, ablation."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
from matplotlib.figure import Figure

from experiments.comparison import analysis
from experiments.comparison.page import REFERENCE as COMPARISON
from experiments.comparison.page import planned
from experiments.disk.errors import ResultsError
from experiments.disk.files import load_all
from experiments.grid.networks import SIZES, Network
from experiments.grid.protocols import BY_WEIGHT, PROTOCOLS
from experiments.page import curves, drawing
from experiments.page.evidence import evidence
from experiments.paper import (
    ablation,
    agreement,
    basins,
    beyond,
    claims,
    dropout_law,
    figures,
    merging,
    published,
    slopes,
    tables,
)
from experiments.statistics.verdicts import RULE, Verdict
from experiments.store import compact, finished, measurements
from experiments.store import gathered as stored

REFERENCE = Path(__file__).parent / "reference"
"""The committed sweeps, one compact file each, and in NETWORKS what was measured of other networks."""

NETWORKS = "networks"


class Topic(NamedTuple):
    """What was found beside the paper's sentences."""

    name: str
    text: str
    picture: drawing.Picture
    tables: list[tables.Table]


def write(
    sweep: xr.Dataset,
    out: Path,
    others: dict[str, xr.Dataset] | None = None,
    measured: Mapping[str, xr.Dataset] | None = None,
    comparison: Sequence[xr.Dataset] = (),
) -> Path:
    """Writes figures/NAME.svg and .png, the page report.html, and its tables verdicts.md, agreement.md and,
    if these were trained, beyond.md, ablation.md, without.md, merging.md, dropout-law.md, convolutions.md and
    basins.md into a folder.

    Args:
      sweep: what is judged, as `gather` gives it.
      out: the folder.
      others: sweeps of other networks or protocols, by name: for the scans, the ablation, and to see which
        claims carry over.
      measured: what `merging.measure` and `dropout_law.measure` give, as "merging" and "dropout-law".
      comparison: settings of `python -m experiments.compare`, for C10.

    Returns:
      The path of the page.
    """
    others, measured = others or {}, measured or {}
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    verdicts = claims.judge(sweep)
    further = beyond.judge(sweep, others) + analysis.c10(comparison) + merging.judge(measured.get("merging"))
    topics = _topics(folder, others, measured)
    steps, without = ablation.steps(others), ablation.without(others)
    compared = agreement.compare(sweep)
    shares = agreement.shares(compared)
    page = drawing.template(Path(__file__).parent / "report.html.j2").render(
        **_about(sweep, others, verdicts),
        verdicts=verdicts,
        beyond=further,
        topics=[each for each in topics if each.tables],
        rule=RULE,
        pictures=[drawing.picture(folder, *each) for each in _figures(sweep, others)],
        evidence={
            each.claim: drawing.picture(folder, each.claim, "", functools.partial(evidence, each))
            for each in (*verdicts, *further)
        },
        agreement=compared,
        shares=shares,
        ablations={
            "From the text to the released code, step by step: each row keeps the steps above it": steps,
            "The released code with one step taken back": without,
        },
        published=published.FIGURE_4,
    )
    for name, table in (
        ("verdicts", tables.verdicts(verdicts)),
        ("beyond", tables.verdicts(further)),
        ("agreement", tables.agreement(shares)),
        ("ablation", tables.ablation(steps)),
        ("without", tables.ablation(without)),
        *((each.name, tables.markdown(each.tables)) for each in topics),
    ):
        if table:
            drawing.write_text(out / f"{name}.md", table)
        else:
            (out / f"{name}.md").unlink(missing_ok=True)  # an older page's
    drawing.write_text(out / "report.html", page)
    return out / "report.html"


def _topics(
    folder: Path, others: Mapping[str, xr.Dataset], measured: Mapping[str, xr.Dataset]
) -> list[Topic]:
    """All that there may be; those that nothing was trained for have no tables."""
    merged, law = measured.get("merging"), measured.get("dropout-law")
    forty, convolutional = others.get("mnist-forty"), others.get("fashion_mnist-conv")
    found = {
        "merging": (
            "What units can be merged for nothing",
            "Units that another one predicts are merged, layer after layer, at falling thresholds of |rho|. "
            "In the table, over the seeds: the smallest share of hidden units left at which the error is not "
            f"more than {100 * beyond.MARGIN:g} percentage points above that of the whole network.",
            merging.figure,
            merged,
            [] if merged is None else tables.merged(merging.rows(merged)),
        ),
        "dropout-law": (
            "Three laws of dropout and trained networks",
            "" if law is None else _on_laws(law),
            dropout_law.figure,
            law,
            [] if law is None else tables.dropout_laws(dropout_law.rows(law)),
        ),
        "convolutions": (
            "The penalty in convolutional layers",
            "Fashion-MNIST. The table: after the last epoch, on the validation set, means over seeds of each "
            "layer: mean |rho|, and d / (2P), the effective number of units with what chance adds.",
            _convolutional,
            convolutional,
            [] if convolutional is None else tables.layers(convolutional),
        ),
        "basins": (
            "Where HUGE-VANILLANET ends",
            "By the PReLU slope of layer 1 after the last epoch, with Wilson's intervals; and how numbers "
            f"early in training tell the networks that end above {slopes.FLAT} from the rest: by the area "
            "under the ROC curve, which is 0.5 by chance, with permutation tests, corrected by Holm.",
            basins.figure,
            forty,
            tables.basin(basins.basins(forty), basins.signs(forty)),
        ),
    }
    return [
        Topic(name, text, drawing.picture(folder, name, title, functools.partial(draw, of)), table)
        for name, (title, text, draw, of, table) in found.items()
    ]


def _convolutional(sweep: xr.Dataset | None) -> Figure:
    if sweep is None:
        raise drawing.Missing("needs convolutional networks")
    return curves.correlation_curves(sweep)


def _on_laws(law: xr.Dataset) -> str:
    count, of = dropout_law.left_out(law)
    return (
        f"Correlations of units under dropout with rate {dropout_law.RATE:g}, observed over "
        f"{dropout_law.DRAWS} draws of masks on the validation set, against what three laws predict. The "
        "slope is that of the line through the origin; R^2 is of observed = predicted, and may be negative. "
        f"Of {of} pairs {count} are left out, for a unit is constant or its network diverged."
    )


def _about(
    sweep: xr.Dataset, others: Mapping[str, xr.Dataset], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """What the page says of the sweep itself, and of what diverged in it."""
    configuration, diverged = stored.configuration(sweep), stored.diverged(sweep)
    convolutional = configuration["protocol"]["family"] == "conv"
    return {
        "title": f"{configuration['dataset']}, protocol {configuration['protocol']['name']}"
        + (", convolutional networks" if convolutional else ""),
        "convolutional": convolutional,
        "dataset": configuration["dataset"],
        "configuration": json.dumps(configuration, indent=1),
        "provenance": _provenance(sweep),
        "seeds": sweep.sizes["seed"],
        "epochs": sweep.sizes["epoch"],
        "mean": drawing.mean,
        "slopes": slopes.by_slope(sweep, claims.HUGE_VANILLA),
        "elsewhere": {
            f"{name}, {other.sizes['seed']} seeds": {each.claim: each for each in claims.judge(other)}
            for name, other in others.items()
            if _is_main(other)
        },
        "diverged": diverged,
        "diverged_elsewhere": {
            name: counts
            for name, other in others.items()
            if name not in PROTOCOLS and (counts := stored.diverged(other))
        },
        "without_diverged": _without_diverged(sweep, verdicts) if diverged else {},
    }


def _without_diverged(sweep: xr.Dataset, verdicts: Sequence[Verdict]) -> dict[str, str]:
    """The verdicts if networks that diverged were left out, where that changes what is compared."""

    def sizes(verdict):
        return [comparison.finite.size for comparison in verdict.comparisons]

    left_out = claims.judge(sweep.assign(validation_error=stored.error(sweep)))
    return {
        without.claim: without.verdict
        for each, without in zip(verdicts, left_out, strict=True)
        if sizes(each) != sizes(without)
    }


def _figures(sweep: xr.Dataset, others: dict[str, xr.Dataset]) -> list[tuple[str, str, Callable[[], Figure]]]:
    scans = [sweep, *(other for other in others.values() if _same_protocol(sweep, other))]
    alone = {
        "table1": (figures.table1, "Table 1: network sizes"),
        "figure1": (figures.figure1, "Figure 1: dropout and the correlations of layer 1"),
        "figure2": (figures.figure2, "Figure 2: the penalty and the correlations of every layer"),
        "figure3": (figures.figure3, "Figure 3: how the error grows as the network shrinks"),
        "figure4": (figures.figure4, "Figure 4: the error after 2 epochs"),
        "learning_curves": (curves.learning_curves, "Learning curves"),
        "correlation_curves": (curves.correlation_curves, "Correlation and penalty over epochs"),
        "heat_maps": (curves.heat_maps, "Who is correlated with whom"),
        "error_by_size": (curves.error_by_size, "Error against network size"),
        "slopes": (
            slopes.slopes,
            f"The PReLU slope of layer 1: networks below {-slopes.FLAT} / between / above {slopes.FLAT}",
        ),
    }
    drawn = [(name, title, functools.partial(function, sweep)) for name, (function, title) in alone.items()]
    return [
        *drawn,
        (
            "error_by_weight",
            "Error against the penalty's weight",
            lambda: curves.error_by_weight(*scans),
        ),
        (
            "correlation_by_rate",
            "Dropout rate and correlation",
            lambda: curves.correlation_by_rate(*scans),
        ),
    ]


def _is_main(sweep: xr.Dataset) -> bool:
    """Whether a sweep has the networks that the claims are about."""
    needed = {Network(size, variant) for size in SIZES for variant in BY_WEIGHT} | {claims.HUGE_DROP}
    return needed <= set(stored.networks(sweep))


def _same_protocol(a: xr.Dataset, b: xr.Dataset) -> bool:
    return all(
        stored.configuration(a)[name] == stored.configuration(b)[name] for name in ("dataset", "protocol")
    )


def _provenance(sweep: xr.Dataset) -> dict[str, str]:
    """What the cells were made with: every value that occurs."""
    values = {name: sorted(set(map(str, sweep[name].values))) for name in finished.ATTRIBUTES}
    del values["configuration"]
    values["seconds"] = [f"{float(sweep.seconds.sum()):.0f} in all"]
    values["created"] = [f"{values['created'][0]} to {values['created'][-1]}"]
    return {name: "; ".join(each) for name, each in values.items()}


def measurements_of(data: Path = REFERENCE) -> dict[str, xr.Dataset]:
    """What was measured of other networks, by name."""
    of = {"merging": merging.DIMENSIONS, "dropout-law": dropout_law.DIMENSIONS}
    paths = {name: data / NETWORKS / f"{name}.nc" for name in of}
    return {name: measurements.load(path, of[name]) for name, path in paths.items() if path.exists()}


def references(data: Path = REFERENCE) -> dict[str, xr.Dataset]:
    """The sweeps of a folder of compact files, by name."""
    return load_all(data, ".nc", compact.load)


def write_reference(data: Path, out: Path, comparison: Path = COMPARISON) -> Path:
    """`write` of a reference run: MNIST judged, with all that was trained beside it."""
    sweeps = references(data)
    if "mnist" not in sweeps:
        raise ResultsError(f"{data / 'mnist.nc'} is not there: make reference")
    return write(sweeps.pop("mnist"), out, sweeps, measurements_of(data), planned(comparison))
