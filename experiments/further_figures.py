"""What the paper lacks and a reader wants: curves over epochs, matrices, scans, slopes, and the evidence."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from decorr.config import PAPER_DROPOUT_RATE, SIZES, VARIANTS
from decorr.penalty import independent_penalty
from experiments import claims, compact, style
from experiments.figures import Missing
from experiments.verdicts import Comparison, Verdict


def learning_curves(sweep: xr.Dataset) -> Figure:
    """Validation error over epochs, every size, all variants of the paper, with 95% bands."""
    sizes = _sizes(sweep)
    figure, axes = style.grid(1, len(sizes), width=2.0, height=2.4, sharey=True)
    for ax, size in zip(axes[0], sizes, strict=True):
        diverged = []
        for variant in _variants(sweep, size):
            errors = compact.error(sweep.sel(cell=f"{size}-{variant}")).values
            style.band(ax, sweep.epoch.values, errors, variant)
            if count := _diverged(errors[:, -1]):
                diverged.append(f"{variant}: {count} diverged")
        _note(ax, 0.97, 0.97, diverged, xycoords="axes fraction", ha="right")
        ax.set_title(size.upper(), size=9)
        ax.set_xlabel("epoch", size=8)
    style.log_scale(axes[0, 0])
    means = np.concatenate([line.get_ydata() for ax in axes[0] for line in ax.lines])
    if np.isfinite(means).any():  # a network that leaps makes a band that reaches far below
        axes[0, 0].set_ylim(0.8 * np.nanmin(means))
    axes[0, 0].set_ylabel("validation error", size=8)
    style.legend(figure, axes[0, 0])
    return figure


def correlation_curves(sweep: xr.Dataset) -> Figure:
    """Mean |rho| and P of each layer of the largest networks over epochs.

    The grey line under P is what independent units have over minibatches of the training size.
    """
    size = _sizes(sweep)[-1]
    configuration = compact.configuration(sweep.sel(cell=[compact.names(sweep, [size], VARIANTS)[0]]))
    layers = sweep.layer.values
    figure, axes = style.grid(2, len(layers), height=2.2, sharex=True)
    for column, layer in enumerate(layers):
        top, bottom = axes[:, column]
        for variant in _variants(sweep, size):
            cell = sweep.sel(cell=f"{size}-{variant}", layer=layer)
            style.band(top, sweep.epoch.values, cell.mean_correlation.values, variant)
            style.band(bottom, sweep.epoch.values, cell.penalty.values, variant)
        batch_size = configuration["protocol"]["optimisation"]["batch_size"]
        floor = independent_penalty(batch_size, configuration["widths"][column])
        bottom.axhline(floor, color="grey", linewidth=1.5)
        bottom.annotate("independent units", (0.98, floor), (0, -3), size=7, ha="right", va="top",
                        xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
        bottom.set_ylim(0.8 * floor)  # room for that below the line
        top.set_title(f"{size.upper()}, layer {layer}", size=9)
        top.set_ylim(0)
        style.log_scale(bottom)
        bottom.set_xlabel("epoch", size=8)
    axes[0, 0].set_ylabel("mean |rho|, validation set", size=8)
    axes[1, 0].set_ylabel(f"P, minibatches of {batch_size}", size=8)
    style.legend(figure, axes[0, 0])
    return figure


def heat_maps(sweep: xr.Dataset) -> Figure:
    """|rho| between the units of the last hidden layer, first seed, ordered by average-linkage clustering."""
    if "correlation" not in sweep:
        raise Missing("needs matrices, which compact files of scans do not keep")
    size = _sizes(sweep)[-1]
    variants = _variants(sweep, size)
    figure, axes = style.grid(1, len(variants), height=2.4)
    scale: dict[str, Any] = {"vmin": 0, "vmax": 1, "cmap": "cividis"}
    for ax, variant in zip(axes[0], variants, strict=True):
        rho = np.abs(sweep.correlation.sel(cell=f"{size}-{variant}").values)
        width = int(np.isfinite(rho[0]).sum())
        ax.set_title(style.name(size, variant) + (", diverged" if width == 0 else ""), size=8)
        ax.set_xticks([])
        ax.set_yticks([])
        if width == 0:
            continue
        rho = rho[:width, :width]
        distance = squareform(np.clip(1 - (rho + rho.T) / 2, 0, 1), checks=False)
        order = hierarchy.leaves_list(hierarchy.linkage(distance, "average", optimal_ordering=True))
        ax.imshow(rho[np.ix_(order, order)], **scale, interpolation="nearest")
    shown = ScalarMappable(Normalize(scale["vmin"], scale["vmax"]), scale["cmap"])
    figure.colorbar(shown, ax=axes[0].tolist(), label="|rho|, last hidden layer", shrink=0.8)
    return figure


def error_by_size(sweep: xr.Dataset) -> Figure:
    """Validation error after the last epoch against network size, all variants of the paper."""
    sizes = _sizes(sweep)
    if len(sizes) < 2:
        raise Missing("needs two sizes")
    figure, axes = style.grid(1, 1, width=5.6, height=2.8)
    (ax,) = axes[0]
    last = compact.error(sweep).isel(epoch=-1)
    diverged: dict[str, list[str]] = {}
    for i, variant in enumerate(variant for variant in VARIANTS if compact.names(sweep, sizes, [variant])):
        with_it = [size for size in sizes if f"{size}-{variant}" in sweep.cell.values]
        places = np.array([sizes.index(size) for size in with_it]) + 0.12 * (i - 1.5)
        errors = [last.sel(cell=f"{size}-{variant}").values for size in with_it]
        ax.plot(places, [style.mean(e) for e in errors], label=style.network(variant), **style.line(variant))
        for size, place, values in zip(with_it, places, errors, strict=True):
            style.error_bar(ax, place, values, color=style.colour(variant))
            style.dots(ax, place, values, 0.1, color=style.colour(variant))
            if count := _diverged(values):
                diverged.setdefault(size, ["diverged"]).append(f"{variant} {count}")
    ax.set_xticks(range(len(sizes)), [size.upper() for size in sizes])
    style.log_scale(ax)
    for size, lines in diverged.items():
        _note(ax, sizes.index(size), 0.99, lines)
    ax.set_ylabel("validation error, last epoch", size=9)
    style.legend(figure, ax)
    return figure


def error_by_weight(*sweeps: xr.Dataset) -> Figure:
    """Validation error after the last epoch against the penalty's weight, a line for each size.

    Weight 0 is vanilla. Several sweeps of one protocol may be given: the first that has a cell counts.
    """
    weights = {0.0: "vanilla"} | _numbered(sweeps, "corr-")
    if len(weights) < 4:
        raise Missing("needs three weights of the penalty")
    figure, axes = style.grid(1, 1, width=5.6, height=2.8)
    (ax,) = axes[0]
    smallest = min(weight for weight in weights if weight > 0)
    diverged: dict[float, list[str]] = {}
    for size, marker in zip(SIZES, "osD^v", strict=True):
        cells = {weight or smallest / 3: f"{size}-{variant}" for weight, variant in weights.items()}
        found = _first(sweeps, cells, lambda cell: compact.error(cell)[:, -1])
        if len(found) > 2:
            means = [style.mean(values) for values in found.values()]
            (drawn,) = ax.plot(list(found), means, marker=marker, markersize=4, label=size.upper())
            for weight, values in found.items():
                style.error_bar(ax, weight, values, color=drawn.get_color())
                style.dots(ax, weight, values, color=drawn.get_color())
                if count := _diverged(values):
                    diverged.setdefault(weight, ["diverged"]).append(f"{size} {count}")
    ax.set_xscale("log")
    style.log_scale(ax)
    ax.set_ylim(top=1.4 * ax.get_ylim()[1])  # room for what diverged
    for weight, lines in diverged.items():
        _note(ax, weight, 0.99, lines)
    ticks = {smallest / 3: "0"} | {weight: f"{weight:g}" for weight in sorted(weights) if weight}
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.set_xticks([], minor=True)
    ax.set_xlabel("weight of the penalty, as the paper counts it", size=8)
    ax.set_ylabel("validation error, last epoch", size=9)
    style.legend(figure, ax, 5)
    return figure


def correlation_by_rate(*sweeps: xr.Dataset) -> Figure:
    """Mean |rho| of trained networks, layer 1, against the dropout rate, with the laws p and p^2.

    The laws start from the mean over the networks without dropout. Sweeps as in `error_by_weight`.
    """
    rates = {0.0: "vanilla", PAPER_DROPOUT_RATE: "drop"} | _numbered(sweeps, "drop-")

    def values_of(size: str) -> dict[float, np.ndarray]:
        cells = {rate: f"{size}-{variant}" for rate, variant in rates.items()}
        return _first(sweeps, cells, lambda cell: cell.mean_correlation_minibatch.sel(layer=1))

    sizes = [size for size in SIZES if len(values_of(size)) > 2 and 0.0 in values_of(size)]
    if not sizes:
        raise Missing("needs two dropout rates beside vanilla")
    figure, axes = style.grid(1, len(sizes), width=3.2, height=2.6, sharey=True)
    for ax, size in zip(axes[0], sizes, strict=True):
        found = values_of(size)
        rate = np.linspace(0, max(found), 50)
        start = style.mean(found[0.0])
        ax.plot(rate, start * (1 - rate), "--", color="grey", label="falls by p (Pearson)")
        ax.plot(rate, start * (1 - rate) ** 2, ":", color="black", label="falls by p^2 (Section 2.1)")
        means = [style.mean(values) for values in found.values()]
        ax.plot(list(found), means, "o-", color=style.colour("drop"), label="trained networks, mean ± 95%")
        for each, values in found.items():
            style.error_bar(ax, each, values, color=style.colour("drop"))
            style.dots(ax, each, values)
            if count := _diverged(values):
                _note(ax, each, 0.99, ["diverged", count])
        ax.set_title(size.upper(), size=9)
        ax.set_xlabel("dropout rate, 1 - p", size=8)
        ax.set_ylim(0)
    axes[0, 0].set_ylabel("mean |rho|, layer 1", size=8)
    style.legend(figure, axes[0, 0], 2)
    return figure


def slopes(sweep: xr.Dataset) -> Figure:
    """Every network's PReLU slope of layer 1 after training, and how many are in each of `by_slope`."""
    if not sweep.sizes["slope_layer"]:
        raise Missing("needs learned slopes")
    sizes = _sizes(sweep)
    figure, axes = style.grid(1, len(sizes), width=2.0, height=2.4, sharey=True)
    last = sweep.slope.isel(epoch=-1, slope_layer=0)
    for ax, size in zip(axes[0], sizes, strict=True):
        variants = _variants(sweep, size)
        for place, variant in enumerate(variants):
            name = f"{size}-{variant}"
            style.dots(
                ax, place, last.sel(cell=name).values, 0.6, s=14, color=style.colour(variant), alpha=0.8
            )
            counts = "/".join(str(group.sum()) for group in claims.by_slope(sweep, name).values())
            ax.annotate(counts, (place, 0.01), xycoords=("data", "axes fraction"), size=6, ha="center")
        ax.axhspan(-claims.FLAT, claims.FLAT, color="black", alpha=0.1, linewidth=0)
        ax.set_title(size.upper(), size=9)
        ax.set_xticks(range(len(variants)), variants, rotation=45, size=7)
        ax.set_xlim(-0.6, len(variants) - 0.4)
    axes[0, 0].margins(y=0.12)  # room for the counts
    axes[0, 0].set_ylabel("slope of layer 1", size=8)
    return figure


def evidence(verdict: Verdict) -> Figure:
    """The comparisons of a claim: every seed as a dot, the mean with its 95% bootstrap interval.

    Comparisons with different values have axes of their own: they measure different things. Of comparisons
    that every value must meet, the distances from it are drawn, as shares of what is tolerated.
    """
    shown = [each for each in verdict.comparisons if each.finite.size]
    if not shown:
        raise Missing("no comparison was measured")
    kinds = [(each.tolerance is None, each.expected) for each in shown]
    parts = [
        [each for each, its_kind in zip(shown, kinds, strict=True) if its_kind == kind]
        for kind in dict.fromkeys(kinds)
    ]
    height = 0.3 * len(shown) + 0.35 * len(parts) + 0.3
    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.subplots(len(parts), squeeze=False, height_ratios=[len(part) for part in parts])[:, 0]
    for ax, part in zip(axes, parts, strict=True):
        ax.set_yticks(range(len(part)), [f"{each.what}  [{each.outcome}]" for each in reversed(part)], size=7)
        ax.set_ylim(-0.6, len(part) - 0.4)
        ax.tick_params(axis="x", labelsize=7)
        ax.xaxis.get_offset_text().set_fontsize(7)
        ax.spines[["top", "right"]].set_visible(False)
        _means(ax, part) if part[0].tolerance is None else _distances(ax, part)
    return figure


_OUTCOMES = {"for": ("#0072B2", "o"), "against": ("#D55E00", "X"), "open": ("#777777", "d")}


def _seeds(ax: Axes, place: int, values: np.ndarray, comparison: Comparison) -> None:
    """Every value of a comparison as a dot, side by side."""
    jitter = place + np.linspace(-0.2, 0.2, values.size)
    ax.scatter(values, jitter, s=8, color=_OUTCOMES[comparison.outcome][0], alpha=0.45, linewidths=0)


def _distances(ax: Axes, shown: list[Comparison]) -> None:
    """Distances from what every value must equal, over what is tolerated.

    A hundredth and less is drawn as a hundredth: what rounding makes differs between processors.
    """
    for place, each in enumerate(reversed(shown)):
        _seeds(ax, place, np.clip(np.abs(each.finite - each.expected) / each.tolerance, 0.01, 100), each)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlim(0.007, 140)
    ax.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01\nor less", "0.1", "1", "10", "100\nor more"])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("error as a share of what is tolerated", size=7)


def _means(ax: Axes, shown: list[Comparison]) -> None:
    """Comparisons with one value, from top to bottom."""
    for place, each in enumerate(reversed(shown)):
        shade, marker = _OUTCOMES[each.outcome]
        _seeds(ax, place, each.finite, each)
        ax.plot([each.interval.low, each.interval.high], [place, place], color="black", linewidth=2)
        ax.plot(each.interval.estimate, place, marker, color=shade, markersize=6, markeredgecolor="black")
    ax.axvline(shown[0].expected, color="black", linewidth=0.8)
    far = np.abs(np.concatenate([each.finite for each in shown]))
    typical = np.median(far[far > 0]) if far.any() else 0
    if far.max() > max(0.5, 30 * typical):  # a network diverged: the others would be one blot
        linear = float(f"{4 * typical:.1g}")
        ax.margins(x=0.1)
        ax.set_xscale("symlog", linthresh=linear)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel(f"logarithmic beyond {linear:g}", size=7)


def _sizes(sweep: xr.Dataset) -> list[str]:
    """The sizes of which the sweep has a variant of the paper."""
    sizes: list[str] = [size for size in SIZES if compact.names(sweep, [size], VARIANTS)]
    if not sizes:
        raise Missing(f"needs one of {', '.join(VARIANTS)}")
    return sizes


def _variants(sweep: xr.Dataset, size: str) -> list[str]:
    """The paper's variants that the sweep has of a size."""
    return [variant for variant in VARIANTS if f"{size}-{variant}" in sweep.cell.values]


def _diverged(values: np.ndarray) -> str:
    """How many networks of a cell have no number, and of how many; "" if all have."""
    count = int(np.isnan(values).sum())
    return f"{count}/{values.size}" if count else ""


def _note(ax: Axes, x: float, y: float, lines: list[str], **look: Any) -> None:
    """Small lines, from y downwards as a fraction of the axes."""
    looks: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top", "size": 6}
    ax.annotate("\n".join(lines), (x, y), **looks | look)


def _numbered(sweeps: Sequence[xr.Dataset], kind: str) -> dict[float, str]:
    """Number -> variant, of those variants of the sweeps that are a kind and a number."""
    variants = (str(variant) for sweep in sweeps for variant in sweep.variant.values)
    return {float(each.removeprefix(kind)): each for each in variants if each.startswith(kind)}


def _first(
    sweeps: Sequence[xr.Dataset], names: Mapping[float, str], of: Callable[[xr.Dataset], xr.DataArray]
) -> dict[float, np.ndarray]:
    """By key, what `of` takes out of the cell of that name [seed], in the first sweep that has it."""
    found = {}
    for key in sorted(names):
        having = [sweep for sweep in sweeps if names[key] in sweep.cell.values]
        if having:
            found[key] = of(having[0].sel(cell=names[key])).values
    return found
