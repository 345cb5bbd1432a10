"""A sweep as one page: verdicts, figures, agreement, ablation. `python -m experiments.report --help`."""

import dataclasses
import functools
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2
import markupsafe
import matplotlib
import tyro
import xarray as xr
from matplotlib.figure import Figure

from decorr.config import SIZES
from experiments import (
    ablation,
    agreement,
    claims,
    compact,
    figures,
    further_figures,
    markdown,
    published,
    results,
    style,
)
from experiments.figures import Missing
from experiments.verdicts import Verdict

REFERENCE = Path(__file__).parent / "reference"
"""The committed sweeps, one compact file each."""
_HUNDREDTHS = re.compile(rb"(\d\.\d\d)\d+")


@dataclasses.dataclass(frozen=True)
class Report:
    """Write a sweep's figures, verdicts and one self-contained HTML page."""

    folder: tyro.conf.Positional[Path | None] = None
    """Folder of a sweep's results. Default: the one under results/ that was last written to."""
    reference: bool = False
    """The committed reference run instead."""
    out: Path | None = None
    """Where to write. Default: the sweep's folder, or results/reference."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure of the page, or why there is none."""

    name: str
    title: str
    svg: str = ""
    reason: str = ""


def write(sweep: xr.Dataset, out: Path, others: dict[str, xr.Dataset] | None = None) -> Path:
    """Writes figures/NAME.svg and .png, the page report.html, and its tables verdicts.md, agreement.md and,
    if that was trained, ablation.md into a folder.

    Args:
      sweep: what is judged, as `compact.load` gives it.
      out: the folder.
      others: sweeps of other networks or protocols, by name: for the scans, the ablation, and to see which
        claims carry over.

    Returns:
      The path of the page.
    """
    others = others or {}
    configuration = compact.configuration(sweep)
    verdicts = claims.judge(sweep)
    diverged = compact.diverged(sweep)
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [_drawn(folder, *each) for each in _figures(sweep, others)]
    evidence = {
        each.claim: _drawn(folder, each.claim, "", functools.partial(further_figures.evidence, each))
        for each in verdicts
    }
    compared = agreement.compare(sweep)
    shares, steps = agreement.shares(compared), ablation.steps(others)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        title=f"{configuration['dataset']}, protocol {configuration['protocol']['name']}",
        dataset=configuration["dataset"],
        verdicts=verdicts,
        elsewhere={
            f"{name}, {other.sizes['seed']} seeds": {each.claim: each for each in claims.judge(other)}
            for name, other in others.items()
            if _is_main(other)
        },
        pictures=pictures,
        evidence=evidence,
        agreement=compared,
        shares=shares,
        ablation=steps,
        published=published.FIGURE_4,
        configuration=json.dumps(configuration, indent=1),
        provenance=_provenance(sweep),
        mean=style.mean,
        slopes=claims.by_slope(sweep, "huge-vanilla"),
        diverged=diverged,
        diverged_elsewhere={
            name: counts
            for name, other in others.items()
            if not name.startswith("ablation-") and (counts := compact.diverged(other))
        },
        without_diverged=_without_diverged(sweep, verdicts) if diverged else {},
        seeds=sweep.sizes["seed"],
        epochs=sweep.sizes["epoch"],
    )
    tables = {
        "verdicts": markdown.verdicts(verdicts),
        "agreement": markdown.agreement(shares),
        "ablation": markdown.ablation(steps),
    }
    for name, table in tables.items():
        if table:
            _replace(out / f"{name}.md", table.encode())
        else:
            (out / f"{name}.md").unlink(missing_ok=True)  # an older page's
    _replace(out / "report.html", page.encode())
    return out / "report.html"


def _without_diverged(sweep: xr.Dataset, verdicts: Sequence[Verdict]) -> dict[str, str]:
    """The verdicts if networks that diverged were left out, where that changes what is compared."""

    def sizes(verdict):
        return [comparison.finite.size for comparison in verdict.comparisons]

    left_out = claims.judge(sweep.assign(validation_error=compact.error(sweep)))
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
        "learning_curves": (further_figures.learning_curves, "Learning curves"),
        "correlation_curves": (further_figures.correlation_curves, "Correlation and penalty over epochs"),
        "heat_maps": (further_figures.heat_maps, "Who is correlated with whom"),
        "error_by_size": (further_figures.error_by_size, "Error against network size"),
        "slopes": (
            further_figures.slopes,
            f"The PReLU slope of layer 1: networks below {-claims.FLAT} / between / above {claims.FLAT}",
        ),
    }
    drawn = [(name, title, functools.partial(function, sweep)) for name, (function, title) in alone.items()]
    return [
        *drawn,
        (
            "error_by_weight",
            "Error against the penalty's weight",
            lambda: further_figures.error_by_weight(*scans),
        ),
        (
            "correlation_by_rate",
            "Dropout rate and correlation",
            lambda: further_figures.correlation_by_rate(*scans),
        ),
    ]


def _drawn(folder: Path, name: str, title: str, draw: Callable[[], Figure]) -> Picture:
    """Draws a figure into NAME.svg and NAME.png."""
    try:
        figure = draw()
    except Missing as missing:
        for kind in ("svg", "png"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)  # an older page's
        return Picture(name, title, reason=str(missing))
    svg = _saved(figure, "svg")
    # A hundredth of a point is enough, and a third smaller; numbers that are read stand between tags.
    svg = re.sub(rb"<[^>]*>", lambda tag: _HUNDREDTHS.sub(rb"\1", tag[0]), svg[svg.index(b"<svg") :])
    _replace(folder / f"{name}.svg", svg)
    _replace(folder / f"{name}.png", _saved(figure, "png"))
    return Picture(name, title, markupsafe.Markup(svg.decode()))


def _saved(figure: Figure, kind: str) -> bytes:
    """A figure as a file: the same bytes for the same figure, text as text."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "decorr", "svg.fonttype": "none", "hatch.linewidth": 0.6}):
        figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    results.write_atomically(path, lambda file: file.write(content))


def _is_main(sweep: xr.Dataset) -> bool:
    """Whether a sweep has the networks that the claims are about."""
    needed = {f"{size}-{variant}" for size in SIZES for variant in claims.BY_WEIGHT} | {"huge-drop"}
    return needed <= set(sweep.cell.values.tolist())


def _same_protocol(a: xr.Dataset, b: xr.Dataset) -> bool:
    return all(
        compact.configuration(a)[name] == compact.configuration(b)[name] for name in ("dataset", "protocol")
    )


def _provenance(sweep: xr.Dataset) -> dict[str, str]:
    """What the cells were made with: every value that occurs."""
    found = {name: sorted(set(map(str, sweep[name].values))) for name in compact.PROVENANCE}
    del found["configuration"]
    found["seconds"] = [f"{float(sweep.seconds.sum()):.0f} in all"]
    found["created"] = [f"{found['created'][0]} to {found['created'][-1]}"]
    return {name: "; ".join(values) for name, values in found.items()}


def references(data: Path = REFERENCE) -> dict[str, xr.Dataset]:
    """The sweeps of a folder of compact files, by name."""
    return {path.stem: compact.load(path) for path in sorted(data.glob("*.nc"))}


def write_reference(data: Path, out: Path) -> Path:
    """`write` of a reference run: MNIST judged, with all its other sweeps."""
    sweeps = references(data)
    if "mnist" not in sweeps:
        raise results.ResultsError(f"{data / 'mnist.nc'} is not there: make reference")
    return write(sweeps.pop("mnist"), out, sweeps)


def _last() -> Path:
    written = sorted(Path("results").glob("*/*.nc"), key=lambda path: path.stat().st_mtime)
    if not written:
        raise results.ResultsError("results/ holds no sweep: name a folder, or give --reference")
    return written[-1].parent


def main() -> None:
    options = tyro.cli(Report, prog="python -m experiments.report")
    try:
        if options.reference:
            page = write_reference(REFERENCE, options.out or Path("results/reference"))
        else:
            folder = options.folder or _last()
            page = write(compact.load(folder), options.out or folder)
    except (results.ResultsError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"report: {page.resolve()}")


if __name__ == "__main__":
    main()
