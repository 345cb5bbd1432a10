"""Writes a page about a sweep: the answer, verdicts, figures, agreement and ablation."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
from matplotlib.figure import Figure

from experiments.disk.errors import ResultsError
from experiments.disk.files import load_all
from experiments.grid.networks import SIZES, Network
from experiments.grid.protocols import BY_WEIGHT, PROTOCOLS
from experiments.page import drawing, overview
from experiments.page.evidence import evidence
from experiments.page.tables import Table, markdown
from experiments.paper import (
    ablation,
    agreement,
    answer,
    by_steps,
    claims,
    pictures,
    published,
    slopes,
    tables,
)
from experiments.paper.beyond import STUDIES
from experiments.paper.study import Exhibit
from experiments.statistics.verdicts import RULE, Verdict
from experiments.store import compact, finished, measurements
from experiments.store import gathered as stored

REFERENCE = Path(__file__).parent / "reference"
"""The folder of the committed sweeps, which are compact files. Its folder NETWORKS has the studies'
measurements."""

NETWORKS = "networks"

FEWEST_SEEDS = 6
"""With fewer seeds than this, no comparison can be significant."""


class Shown(NamedTuple):
    """A study's exhibit, drawn for the page."""

    picture: drawing.Picture
    text: str
    tables: Sequence[Table]


def write(sweep: xr.Dataset, out: Path) -> Path:
    """Writes the page of a sweep: the paper's page if the sweep can judge the paper, else an overview.
    Returns the page's path."""
    if judges(sweep):
        return write_paper(sweep, out)
    reason = (
        "This sweep cannot judge the paper's claims. They need vanilla, corr-0.1 and corr-1.0 in every "
        f"size, the network huge-drop, and at least {FEWEST_SEEDS} seeds."
    )
    return overview.write(sweep, out, [reason, *filter(None, [conclusion(sweep)])])


def conclusion(sweep: xr.Dataset) -> str:
    """Returns, for a sweep of the digits, a line on why MNIST seems to contradict it; "" for other sweeps."""
    return _contrast(sweep, {})[0]


def write_paper(
    sweep: xr.Dataset,
    out: Path,
    others: Mapping[str, xr.Dataset] | None = None,
    measured: Mapping[str, xr.Dataset] | None = None,
    further: Sequence[Verdict] = (),
) -> Path:
    """Writes figures/NAME.svg and .png, the page report.html and its tables into a folder. The tables
    are verdicts.md and agreement.md. Other tables are written if their networks were trained: beyond.md,
    ablation.md, without.md and those of the studies.

    Args:
      sweep: the sweep that is judged, from `gather`.
      out: the folder.
      others: other sweeps, by name. The scans, the ablation and the studies use them. Sweeps that
        have the claims' networks are judged too.
      measured: the studies' measurements, by name.
      further: verdicts on the paper's sentences from other commands.

    Returns:
      The path of the page.
    """
    others = others or {}
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    results = {**others, **(measured or {})}
    verdicts = claims.judge(sweep)
    beyond = [verdict for study in STUDIES for verdict in study.verdicts(results, sweep)] + [*further]
    exhibits = [_show(folder, study.exhibit, study.find(results)) for study in STUDIES if study.exhibit]
    steps, without = ablation.steps(others), ablation.without(others)
    compared = agreement.compare(sweep)
    shares = agreement.shares(compared)
    contrast, contrasted = _contrast(sweep, others)
    page = drawing.template(Path(__file__).parent / "report.html.j2").render(
        **_about(sweep, others, verdicts),
        sentences=answer.sentences(sweep, verdicts, shares),
        title_of=answer.title,
        contrast=contrast,
        first=pictures.FIRST,
        captions=pictures.CAPTIONS,
        verdicts=verdicts,
        beyond=beyond,
        exhibits=[exhibit for exhibit in exhibits if exhibit.tables],
        rule=RULE,
        pictures=[drawing.picture(folder, *figure) for figure in pictures.of(sweep, others, contrasted)],
        evidence={
            verdict.claim: drawing.picture(folder, verdict.claim, "", functools.partial(evidence, verdict))
            for verdict in (*verdicts, *beyond)
        },
        agreement=compared,
        shares=shares,
        ablations={
            "From the text to the released code, step by step: each row keeps the steps above it": steps,
            "The released code with one step taken back": without,
        },
        published=published.FIGURE_4,
    )
    for name, text in (
        ("verdicts", markdown(tables.of_verdicts(verdicts))),
        ("beyond", markdown(tables.of_verdicts(beyond))),
        ("agreement", markdown(tables.of_shares(shares))),
        ("ablation", markdown(tables.of_steps(steps))),
        ("without", markdown(tables.of_steps(without))),
        *((exhibit.picture.name, markdown(*exhibit.tables)) for exhibit in exhibits),
    ):
        if text:
            drawing.write_text(out / f"{name}.md", text)
        else:
            (out / f"{name}.md").unlink(missing_ok=True)  # left by an older page
    drawing.write_text(out / "report.html", page)
    return out / "report.html"


def _contrast(sweep: xr.Dataset, others: Mapping[str, xr.Dataset]) -> tuple[str, list[xr.Dataset]]:
    """Returns a text on why the digits and MNIST seem to disagree, and both sweeps if their huge networks can
    be drawn. If only the digits are given, the committed sweep of MNIST is used."""
    by_set = {
        stored.configuration(each)["dataset"]: each
        for each in (*(others[name] for name in ("digits", "mnist") if name in others), sweep)
    }
    if "digits" not in by_set:
        return "", []
    mnist = by_set["mnist"] if "mnist" in by_set else compact.load(REFERENCE / "mnist.nc")
    text = by_steps.contrast(by_set["digits"], mnist)
    return text, [by_set["digits"], mnist] if text and judges(by_set["digits"]) else []


def _show(folder: Path, exhibit: Exhibit, results: xr.Dataset | None) -> Shown:
    """Draws an exhibit. Without results, the exhibit has no text and no tables."""

    def draw() -> Figure:
        if results is None:
            raise drawing.Missing("its networks are not trained yet")
        return exhibit.figure(results)

    picture = drawing.picture(folder, exhibit.name, exhibit.title, draw)
    if results is None:
        return Shown(picture, "", ())
    return Shown(picture, exhibit.text(results), [table for table in exhibit.tables(results) if table.rows])


def _about(
    sweep: xr.Dataset, others: Mapping[str, xr.Dataset], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """Returns the page's values about the sweep, the verdicts on other sweeps, and diverged networks."""
    configuration, diverged = stored.configuration(sweep), stored.diverged(sweep)
    convolutional = configuration["protocol"]["family"] == "conv"
    return {
        "title": f"{answer.name_of(configuration['dataset'])}, protocol {configuration['protocol']['name']}"
        + (", convolutional networks" if convolutional else ""),
        "data": answer.name_of(configuration["dataset"]),
        "convolutional": convolutional,
        "dataset": configuration["dataset"],
        "configuration": json.dumps(configuration, indent=1),
        "provenance": _provenance(sweep),
        "seeds": sweep.sizes["seed"],
        "epochs": sweep.sizes["epoch"],
        "mean": drawing.mean,
        "slopes": slopes.by_slope(sweep, claims.HUGE_VANILLA),
        "elsewhere": {
            answer.name_of(name): (
                other.sizes["seed"],
                {verdict.claim: verdict for verdict in claims.judge(other)},
            )
            for name, other in others.items()
            if judges(other)
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
    """Returns the verdicts that leave diverged networks out, for those claims that have diverged networks."""

    def sizes(verdict):
        return [comparison.finite.size for comparison in verdict.comparisons]

    left_out = claims.judge(sweep.assign(validation_error=stored.error(sweep)))
    return {
        without.claim: without.verdict
        for verdict, without in zip(verdicts, left_out, strict=True)
        if sizes(verdict) != sizes(without)
    }


def judges(sweep: xr.Dataset) -> bool:
    """Checks whether a sweep has enough seeds and the claims' networks, trained as its protocol says."""
    trained = stored.configuration(sweep)["protocol"]
    if trained["name"] not in PROTOCOLS:
        return False
    protocol = dataclasses.asdict(PROTOCOLS[trained["name"]])
    if any(trained[name] != protocol[name] for name in ("optimiser", "optimisation")) or trained["widths"]:
        return False
    needed = {Network(size, variant) for size in SIZES for variant in BY_WEIGHT} | {claims.HUGE_DROP}
    return needed <= set(stored.networks(sweep)) and sweep.sizes["seed"] >= FEWEST_SEEDS


def _provenance(sweep: xr.Dataset) -> dict[str, str]:
    """Returns where the cells come from: for each attribute, its distinct values as text."""
    values = {name: sorted(set(map(str, sweep[name].values))) for name in finished.ATTRIBUTES}
    del values["configuration"]
    values["seconds"] = [f"{float(sweep.seconds.sum()):.0f} in all"]
    values["created"] = [f"{values['created'][0]} to {values['created'][-1]}"]
    return {name: "; ".join(different) for name, different in values.items()}


def measurements_of(data: Path = REFERENCE) -> dict[str, xr.Dataset]:
    """Returns the studies' measurements, by name."""
    kept = {study.name: study.dimensions for study in STUDIES if study.measure}
    paths = {name: data / NETWORKS / f"{name}.nc" for name in kept}
    return {name: measurements.load(path, kept[name]) for name, path in paths.items() if path.exists()}


def references(data: Path = REFERENCE) -> dict[str, xr.Dataset]:
    """Returns the sweeps of a folder of compact files, by name."""
    return load_all(data, ".nc", compact.load)


def write_reference(data: Path, out: Path, further: Sequence[Verdict] = ()) -> Path:
    """Writes the paper's page of a reference run: MNIST is judged, and other sweeps are shown beside it."""
    sweeps = references(data)
    if "mnist" not in sweeps:
        raise ResultsError(f"{data / 'mnist.nc'} is missing: run `make reference`")
    return write_paper(sweeps.pop("mnist"), out, sweeps, measurements_of(data), further)
