"""Draws parts of figures, such as error bars, dots and bands, and writes figures and pages to files."""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import matplotlib.style
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from experiments.disk.files import write_atomically
from experiments.grid.networks import SIZES, Network, Size, Variant
from experiments.page import style
from experiments.statistics import intervals
from experiments.store.gathered import networks

_HUNDREDTHS = re.compile(rb"(\d\.\d\d)\d+")


class Missing(Exception):
    """The sweep lacks cells that a figure needs."""


def need(sweep: xr.Dataset, needed: Iterable[Network]) -> None:
    """Raises Missing if the sweep lacks any of the networks."""
    if lacking := sorted(network.name for network in set(needed) - set(networks(sweep))):
        raise Missing(f"needs {', '.join(lacking)}")


def sizes(sweep: xr.Dataset) -> list[Size]:
    """Returns the sizes at which the sweep has a variant with its own style. Raises Missing if there are
    none."""
    drawn = [size for size in SIZES if variants(sweep, size)]
    if not drawn:
        raise Missing(f"needs one of {', '.join(variant.name for variant in style.with_looks())}")
    return drawn


def variants(sweep: xr.Dataset, size: Size) -> list[Variant]:
    """Returns, for one size, the sweep's variants that have a style of their own."""
    return [network.variant for network in networks(sweep) if network.size == size and network.variant.look]


def grid(
    rows: int, columns: int, width: float = 2.6, height: float = 2.2, **shared: Any
) -> tuple[Figure, Any]:
    """Returns a figure and its axes [row, column]."""
    figure = Figure(figsize=(width * columns + 0.6, height * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure, axes


def mean(values: np.ndarray) -> float:
    """Returns the mean over the seeds that did not diverge; NaN if all seeds diverged."""
    return intervals.of_mean(values[np.isfinite(values)]).estimate


def error_bar(axes: Axes, x: float, values: np.ndarray, **look: Any) -> None:
    """Draws the 95% interval of the mean over seeds."""
    middle, low, high = intervals.of_mean(values[np.isfinite(values)])
    looks: dict[str, Any] = {"color": "black", "capsize": 2} | look
    if np.isfinite(low):
        axes.errorbar(x, middle, [[middle - low], [high - middle]], **looks)


def dots(axes: Axes, x: float, values: np.ndarray, width: float = 0.0, **look: Any) -> None:
    """Draws a dot for every seed. The dots are side by side and take up the given width."""
    places = x + np.linspace(-width / 2, width / 2, len(values) + 2)[1:-1]
    defaults: dict[str, Any] = {"s": 7, "color": "black", "alpha": 0.55, "linewidths": 0, "zorder": 3}
    axes.scatter(places, values, **defaults | look)


def band(axes: Axes, x: np.ndarray, values: np.ndarray, variant: Variant, smooth: bool = False) -> None:
    """Draws the means over seeds of values [seed, x] as a line, and their 95% intervals as a band.

    If `smooth`, the line goes through about 25 points only, and does not show jumps between them.
    """
    drawn = _thinned(len(x)) if smooth else np.arange(len(x))
    marked = np.flatnonzero(np.isin(drawn, range(0, len(x), max(1, len(x) // 6))))
    means = [intervals.of_mean(column[np.isfinite(column)]) for column in values.T[drawn]]
    looks = style.line(variant) | {"markevery": marked.tolist(), "label": variant.title}
    axes.plot(x[drawn], [mean.estimate for mean in means], **looks)
    if all(np.isfinite(mean.low) for mean in means):
        low, high = ([getattr(mean, end) for mean in means] for end in ("low", "high"))
        axes.fill_between(x[drawn], low, high, color=style.colour(variant), alpha=0.2, linewidth=0)


def _thinned(length: int) -> np.ndarray:
    """Returns the indices of points that suffice to draw a curve: the first five, because the curve is steep
    there, and about 25 evenly spaced ones."""
    return np.unique([*range(min(5, length)), *range(0, length, -(-length // 25)), length - 1])


def log_scale(axes: Axes) -> None:
    """Makes the y-axis logarithmic, with tick labels at 1, 2, 3 and 5 times the powers of ten.

    The axis ends just below the lowest line, even if a band reaches far lower because one network jumps.
    Without lines, for example if all networks diverged, the axis stays linear.
    """
    lines = [line for beside in axes.get_shared_y_axes().get_siblings(axes) for line in beside.lines]
    values = np.concatenate([[], *(np.asarray(line.get_ydata(), float) for line in lines)])
    if not (values > 0).any():
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(max(axes.get_ylim()[0], 0.8 * values[values > 0].min()))


def log_epochs(axes: Axes, last: int) -> None:
    """Makes the x-axis logarithmic, with tick labels at some epochs."""
    if last > 1:
        axes.set_xscale("log")
        ticks = [epoch for epoch in (1, 2, 5, 10, 20, 50, 100, 200, 500) if epoch <= last]
        axes.set_xticks(ticks, [str(epoch) for epoch in ticks])
        axes.set_xticks([], minor=True)


def by_similarity(rho: np.ndarray) -> np.ndarray:
    """Returns an order of the units in which similar units are side by side. It comes from average-linkage
    clustering with distance 1 - |rho|."""
    distance = squareform(np.clip(1 - np.abs(rho + rho.T) / 2, 0, 1), checks=False)
    return hierarchy.leaves_list(hierarchy.linkage(distance, "average", optimal_ordering=True))


def legend(figure: Figure, axes: Axes, columns: int = 4, extra: Sequence = ()) -> None:
    """Draws one legend above all axes, with the entries of `axes` and `extra`. It has `columns` columns, or
    as many as fit."""
    handles, labels = axes.get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True)) | {handle.get_label(): handle for handle in extra}
    width = 0.55 + 0.085 * np.mean([len(label) for label in shown])  # inches, for a handle and its label
    columns = max(1, min(columns, int(figure.get_figwidth() / width)))
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=columns, frameon=False)


def note(axes: Axes, x: float, y: float, lines: Sequence[str], **look: Any) -> None:
    """Draws small lines of text downwards from y, which is a fraction of the axes' height."""
    looks: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top", "size": 7}
    axes.annotate("\n".join(lines), (x, y), **looks | look)


@dataclass(frozen=True)
class Picture:
    """A figure of a page, or the reason why the figure is missing."""

    name: str
    title: str
    svg: str = ""
    reason: str = ""


def picture(folder: Path, name: str, title: str, draw: Callable[[], Figure]) -> Picture:
    """Draws a figure into NAME.svg and NAME.png. A slash in the name becomes a hyphen."""
    name = name.replace("/", "-")
    try:
        with settings():
            figure = draw()
            svg = _file(figure, "svg")
            figure.set_layout_engine("none")  # keeps the layout: computing it takes as long as drawing
            png = _file(figure, "png")
    except Missing as missing:
        for kind in ("svg", "png"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)  # left by an older page
        return Picture(name, title, reason=str(missing))
    # Two decimals are enough for coordinates, and make files a third smaller. Numbers between tags keep
    # their decimals, because they are visible text.
    svg = re.sub(rb"<[^>]*>", lambda tag: _HUNDREDTHS.sub(rb"\1", tag[0]), svg[svg.index(b"<svg") :])
    write_atomically(folder / f"{name}.svg", lambda file: file.write(svg))
    write_atomically(folder / f"{name}.png", lambda file: file.write(png))
    return Picture(name, title, markupsafe.Markup(svg.decode()))


def _file(figure: Figure, kind: str) -> bytes:
    """Returns a figure as the bytes of a file. With `settings`, equal figures give equal bytes, and text in
    an SVG stays text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


@contextmanager
def settings() -> Iterator[None]:
    """Replaces the user's matplotlibrc by Matplotlib's defaults and our settings until the context ends."""
    ours = {"svg.hashsalt": "decorr", "svg.fonttype": "none"}
    with matplotlib.style.context(["default", ours]):
        yield


def template(path: Path) -> jinja2.Template:
    """Returns a page's template, which may include the style that all pages share."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([path.parent, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(path.name)


def write_text(path: Path, text: str) -> None:
    """Writes the text of a page or of a table."""
    write_atomically(path, lambda file: file.write(text.encode()))
