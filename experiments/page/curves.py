"""Draws curves over epochs, sizes, penalty weights and dropout rates, and pictures of correlations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from experiments.grid.networks import SIZES, Network, Size, Variant
from experiments.grid.protocols import DROP, VANILLA
from experiments.page import drawing, style
from experiments.page.drawing import Missing
from experiments.store import gathered as stored
from experiments.store.gathered import cell_of, networks


def learning_curves(sweep: xr.Dataset) -> Figure:
    """Draws validation error over epochs with 95% bands, for each size and each variant that has a style.

    Both axes are logarithmic, because linear axes hide either the first epochs or the last differences.
    """
    sizes = drawing.sizes(sweep)
    columns = min(3, len(sizes))
    figure, axes = drawing.grid(-(-len(sizes) // columns), columns, width=3.0, height=2.5, sharey=True)
    for ax in axes.flat[len(sizes) :]:
        ax.remove()
    axes = axes.flat[: len(sizes)]
    for ax, size in zip(axes, sizes, strict=True):
        diverged = []
        for variant in drawing.variants(sweep, size):
            errors = 100 * stored.error(cell_of(sweep, Network(size, variant))).values
            drawing.band(ax, sweep.epoch.values, errors, variant)
            if count := _diverged(errors[:, -1]):
                diverged.append(f"{variant.name}: {count} diverged")
        drawing.note(ax, 0.97, 0.97, diverged, xycoords="axes fraction", ha="right", size=8)
        ax.set_title(size.upper(), size=9)
        ax.set_xlabel("epoch", size=9)
        drawing.log_epochs(ax, int(sweep.epoch.values[-1]))
    drawing.log_scale(axes[0])
    for ax in axes[::columns]:
        ax.set_ylabel("validation error (%)", size=9)
    drawing.legend(figure, axes[0])
    return figure


def correlation_curves(sweep: xr.Dataset) -> Figure:
    """Draws mean |rho| and effective units over epochs, for each layer of the largest networks. A grey line
    shows the layer's number of units."""
    size = drawing.sizes(sweep)[-1]
    drawn = Network(size, drawing.variants(sweep, size)[0])
    widths = stored.configuration(sweep.sel(cell=[drawn.name]))["widths"]
    layers = sweep.layer.values
    figure, axes = drawing.grid(2, len(layers), width=3.0, height=2.3, sharex=True)
    for column, layer in enumerate(layers):
        top, bottom = axes[:, column]
        for variant in drawing.variants(sweep, size):
            cell = cell_of(sweep, Network(size, variant))
            for ax, measured in ((top, cell.mean_correlation), (bottom, stored.effective_units(cell))):
                drawing.band(ax, sweep.epoch.values, measured.sel(layer=layer).values, variant, smooth=True)
        bottom.axhline(widths[column], color="grey", linewidth=1.5)
        drawing.note(bottom, 0.02, 0.88, [f"all {widths[column]}"], xycoords="axes fraction", ha="left",
                     size=8, color="#555555")  # fmt: skip
        top.set_title(f"{size.upper()}, layer {layer}", size=9)
        top.set_ylim(0)
        bottom.set_ylim(0, 1.1 * widths[column])
        bottom.set_xlabel("epoch", size=9)
    axes[0, 0].set_ylabel("mean |rho|", size=9)
    axes[1, 0].set_ylabel("effective number of units", size=9)
    drawing.legend(figure, axes[0, 0])
    return figure


def heat_maps(sweep: xr.Dataset) -> Figure:
    """Draws |rho| between the units of the last hidden layer, for the first seed of the largest networks.
    Similar units are side by side."""
    if "correlation" not in sweep:
        raise Missing("needs the correlation matrices, which the compact file of this sweep does not store")
    size = drawing.sizes(sweep)[-1]
    variants = drawing.variants(sweep, size)
    figure, axes = drawing.grid(1, len(variants), height=2.4)
    scale: dict[str, Any] = {"vmin": 0, "vmax": 1, "cmap": "cividis"}
    for ax, variant in zip(axes[0], variants, strict=True):
        rho = np.abs(cell_of(sweep, Network(size, variant)).correlation.values)
        width = int(np.isfinite(rho[0]).sum())
        ax.set_title(Network(size, variant).title + (", diverged" if width == 0 else ""), size=8)
        ax.set_xticks([])
        ax.set_yticks([])
        if width == 0:
            continue
        order = drawing.by_similarity(rho[:width, :width])
        ax.imshow(rho[np.ix_(order, order)], **scale, interpolation="nearest")
        ax.set_xlabel("units, similar ones side by side", size=8)
    shown = ScalarMappable(Normalize(scale["vmin"], scale["vmax"]), scale["cmap"])
    figure.colorbar(shown, ax=axes[0].tolist(), label="|rho|, last hidden layer", shrink=0.8)
    return figure


def error_by_size(sweep: xr.Dataset) -> Figure:
    """Draws validation error after the last epoch against network size, for variants that have a style."""
    sizes = drawing.sizes(sweep)
    if len(sizes) < 2:
        raise Missing("needs two sizes")
    figure, axes = drawing.grid(1, 1, width=5.6, height=2.8)
    (ax,) = axes[0]
    last = 100 * stored.error(sweep).isel(epoch=-1)
    diverged: dict[Size, list[str]] = {}
    variants = {size: drawing.variants(sweep, size) for size in sizes}
    drawn = [look for look in style.with_looks() if any(look in names for names in variants.values())]
    for i, variant in enumerate(drawn):
        with_it = [size for size in sizes if variant in variants[size]]
        places = np.array([sizes.index(size) for size in with_it]) + 0.12 * (i - 1.5)
        errors = [last.sel(cell=Network(size, variant).name).values for size in with_it]
        ax.plot(places, [drawing.mean(e) for e in errors], label=variant.title, **style.line(variant))
        for size, place, values in zip(with_it, places, errors, strict=True):
            drawing.error_bar(ax, place, values, color=style.colour(variant))
            drawing.dots(ax, place, values, 0.1, color=style.colour(variant))
            if count := _diverged(values):
                diverged.setdefault(size, ["diverged"]).append(f"{variant.name} {count}")
    ax.set_xticks(range(len(sizes)), [size.upper() for size in sizes])
    for size, lines in diverged.items():
        drawing.note(ax, sizes.index(size), 0.99, lines, size=7)
    ax.set_ylim(0)
    ax.set_ylabel("validation error after the last epoch (%)", size=9)
    drawing.legend(figure, ax)
    return figure


def error_by_weight(*sweeps: xr.Dataset) -> Figure:
    """Draws validation error after the last epoch against the penalty's weight, with a line for each size.

    Weight 0 is vanilla. If several sweeps have the same cell, the first of these sweeps is used.
    """
    weights = {0.0: VANILLA} | _numbered(sweeps, "corr")
    if len(weights) < 4:
        raise Missing("needs three weights of the penalty")
    figure, axes = drawing.grid(1, 1, width=5.6, height=2.8)
    (ax,) = axes[0]
    smallest = min(weight for weight in weights if weight > 0)
    diverged: dict[float, list[str]] = {}
    for size, marker in zip(SIZES, "osD^v", strict=True):
        cells = {weight or smallest / 3: Network(size, variant) for weight, variant in weights.items()}
        errors = _first(sweeps, cells, lambda cell: 100 * stored.error(cell)[:, -1])
        if len(errors) > 2:
            means = [drawing.mean(values) for values in errors.values()]
            (drawn,) = ax.plot(list(errors), means, marker=marker, markersize=4, label=size.upper())
            for weight, values in errors.items():
                drawing.error_bar(ax, weight, values, color=drawn.get_color())
                drawing.dots(ax, weight, values, color=drawn.get_color())
                if count := _diverged(values):
                    diverged.setdefault(weight, ["diverged"]).append(f"{size} {count}")
    ax.set_xscale("log")
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # room for the counts of networks that diverged
    for weight, lines in diverged.items():
        drawing.note(ax, weight, 0.99, lines, size=7)
    ticks = {smallest / 3: "0"} | {weight: f"{weight:g}" for weight in sorted(weights) if weight}
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.set_xticks([], minor=True)
    ax.set_xlabel("weight of the penalty, as the paper counts it", size=9)
    ax.set_ylabel("validation error after the last epoch (%)", size=9)
    drawing.legend(figure, ax, 5)
    return figure


def correlation_by_rate(*sweeps: xr.Dataset) -> Figure:
    """Draws mean |rho| in layer 1 of trained networks against the dropout rate 1 - p, and two laws.

    The laws are p m and p^2 m, where m is the mean over the networks without dropout. If several sweeps
    have the same cell, the first of these sweeps is used.
    """
    rates = {0.0: VANILLA} | _numbered(sweeps, "drop")

    def values_of(size: Size) -> dict[float, np.ndarray]:
        cells = {rate: Network(size, variant) for rate, variant in rates.items()}
        return _first(sweeps, cells, lambda cell: cell.mean_correlation_minibatch.sel(layer=1))

    drawn = {size: found for size in SIZES if len(found := values_of(size)) > 2 and 0.0 in found}
    if not drawn:
        raise Missing("needs two dropout rates beside vanilla")
    figure, axes = drawing.grid(1, len(drawn), width=3.2, height=2.6, sharey=True)
    dropped = style.colour(DROP)
    for ax, (size, correlations) in zip(axes[0], drawn.items(), strict=True):
        rates_drawn = np.linspace(0, max(correlations), 50)
        start = drawing.mean(correlations[0.0])
        ax.plot(rates_drawn, start * (1 - rates_drawn), "--", color="grey", label="falls by p (Pearson)")
        ax.plot(
            rates_drawn,
            start * (1 - rates_drawn) ** 2,
            ":",
            color="black",
            label="falls by p^2 (Section 2.1)",
        )
        means = [drawing.mean(values) for values in correlations.values()]
        ax.plot(list(correlations), means, "o-", color=dropped, label="trained networks, mean ± 95%")
        for rate, values in correlations.items():
            drawing.error_bar(ax, rate, values, color=dropped)
            drawing.dots(ax, rate, values)
            if count := _diverged(values):
                drawing.note(ax, rate, 0.99, ["diverged", count])
        ax.set_title(size.upper(), size=9)
        ax.set_xlabel("dropout rate, 1 - p", size=8)
        ax.set_ylim(0)
    axes[0, 0].set_ylabel("mean |rho|, layer 1", size=8)
    drawing.legend(figure, axes[0, 0], 2)
    return figure


def _diverged(values: np.ndarray) -> str:
    """Returns how many of a cell's networks diverged (NaN), as text such as 3/10; "" if none diverged."""
    count = int(np.isnan(values).sum())
    return f"{count}/{values.size}" if count else ""


def _numbered(sweeps: Sequence[xr.Dataset], kind: str) -> dict[float, Variant]:
    """Returns the sweeps' variants of one kind, by their weight or rate. Variants whose number changes during
    training are left out."""
    variants = (network.variant for sweep in sweeps for network in networks(sweep))
    return {
        variant.number: variant
        for variant in variants
        if variant.kind == kind and variant.number is not None and variant.schedule == "constant"
    }


def _first(
    sweeps: Sequence[xr.Dataset], wanted: Mapping[float, Network], take: Callable[[xr.Dataset], xr.DataArray]
) -> dict[float, np.ndarray]:
    """Returns each network's values [seed], under its key in `wanted`. `take` reads them from the first sweep
    that has the network."""
    values = {}
    for key in sorted(wanted):
        having = [sweep for sweep in sweeps if wanted[key] in networks(sweep)]
        if having:
            values[key] = take(cell_of(having[0], wanted[key])).values
    return values
