"""Judges C11 by how many units networks need, as planned in PLAN.md, part 3."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.disk import netcdf
from experiments.grid.cells import Cell, make_cells
from experiments.grid.networks import Variant
from experiments.grid.protocols import CORR_01, CORR_10, DROP, RELEASED, VANILLA
from experiments.page import drawing, style
from experiments.page.tables import Table
from experiments.paper.beyond import trained
from experiments.paper.study import MARGIN, Exhibit, Study
from experiments.statistics.verdicts import Quantity, Verdict, above_zero
from experiments.store import finished

# Only the functions that measure import JAX, because reading results does not need it.
if TYPE_CHECKING:
    from experiments.data.load import Dataset

THRESHOLDS = (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Thresholds of |rho|: a unit is merged into another unit if their |rho| reaches the threshold."""

SAMPLES = 10_000
"""Number of training images over which units are compared: the first images of the training set."""

DIMENSIONS = {
    "units": ("variant", "seed", "threshold", "layer"),
    "error": ("variant", "seed", "threshold"),
    "whole_error": ("variant", "seed"),
    "width": ("layer",),
    "diverged": ("variant", "seed"),
}
"""The axes of each variable that `measure` returns."""

_ROUNDING = 1e-6
"""A bound for the rounding error of a difference of two validation errors in float32. A single image
changes a validation error by 1e-4, which is far more."""


def measure(folder: Path, grid: Sequence[Cell], dataset: "Dataset") -> xr.Dataset:
    """Merges the units of finished cells' networks, layer by layer, and evaluates the merged networks.

    Args:
      folder: the folder of the finished cells.
      grid: one cell for each variant, all with fully connected networks of the same size.
      dataset: the data that the networks were trained on.

    Returns:
      units [variant, seed, threshold, layer]: how many units are left.
      error [variant, seed, threshold]: the merged networks' validation error.
      whole_error [variant, seed]: the validation error of the trained networks.
      width [layer]: units as trained.
      diverged [variant, seed]: 1 for a network that diverged. Such a network has NaN activations and cannot
        be merged. It is recorded with no units left and with the error of guessing.
    """
    import jax

    from decorr.training.objective import error_rate

    samples, validation, labels = jax.device_put(
        (dataset.train.batch(slice(SAMPLES))[0], *dataset.validation.batch(...))
    )
    widths = grid[0].configuration()["widths"]
    shape = len(grid), grid[0].seeds
    units = np.zeros((*shape, len(THRESHOLDS), len(widths)), np.int16)
    error = np.zeros((*shape, len(THRESHOLDS)), np.float32)
    whole_error = np.zeros(shape, np.float32)
    diverged = np.zeros(shape, np.int8)
    for i, cell in enumerate(grid):
        run = trained.program(cell, dataset.classes)
        with netcdf.read(finished.path_of(folder, cell.network)) as stored:
            networks = finished.parameters(stored)
            diverged[i] = stored.diverged_epoch.values > 0
            last = stored.validation_error.isel(epoch=-1).values
        for seed, params in enumerate(networks):
            if diverged[i, seed]:
                error[i, seed] = whole_error[i, seed] = last[seed]
                continue
            whole_error[i, seed] = error_rate(run(params, validation)[0], labels)
            for t, threshold in enumerate(THRESHOLDS):
                merged, units[i, seed, t] = merge(run, params, samples, threshold)
                error[i, seed, t] = error_rate(run(merged, validation)[0], labels)
    variables = {
        "units": (units, "units left"),
        "error": (error, "validation error, merged"),
        "whole_error": (whole_error, "validation error, all units"),
        "width": (np.asarray(widths, np.int16), "units as trained"),
        "diverged": (diverged, "1: the network diverged"),
    }
    return xr.Dataset(
        {
            name: (DIMENSIONS[name], values, {"long_name": long_name})
            for name, (values, long_name) in variables.items()
        },
        coords={
            "variant": [cell.variant.name for cell in grid],
            "seed": np.arange(shape[1]),
            "threshold": ("threshold", np.array(THRESHOLDS), {"long_name": "of |rho|"}),
            "layer": np.arange(1, len(widths) + 1),
        },
    )


def merge(
    run: trained.Program, params: Mapping[str, Any], samples: Any, threshold: float
) -> tuple[dict[str, Any], list[int]]:
    """Removes a network's redundant units: applies `decorr.merge_units` to each hidden layer in turn.

    After a layer is merged, the next layer's activations are computed with the merged network. Arrays
    keep their shapes: removed units are still computed, but have no outgoing weights. So one compiled program
    serves all merged networks, and its outputs are those of networks without the removed units.
    `decorr.merge_network` returns smaller arrays, so a program would be compiled for every threshold of
    every network.

    Args:
      run: a function that computes the network.
      params: the network's parameters.
      samples: inputs [sample, feature], over which units are compared.
      threshold: the threshold of |rho|, as in `merge_units`.

    Returns:
      The parameters, and how many units are left in each hidden layer.
    """
    from decorr import merge_units

    merged, left = dict(params), []
    hidden = sum(name.startswith("hidden_") for name in params)
    for layer, after in enumerate([*(f"hidden_{layer}" for layer in range(2, hidden + 1)), "logits"]):
        activations = run(merged, samples)[1][layer]
        fewer = merge_units(activations, (), **merged[after], threshold=threshold)
        kernel = np.zeros_like(merged[after]["kernel"])
        kernel[fewer.kept] = fewer.kernel
        merged[after] = {"kernel": kernel, "bias": np.asarray(fewer.bias)}
        left.append(len(fewer.kept))
    return merged, left


def shares(measured: xr.Dataset) -> xr.DataArray:
    """Returns the share [variant, seed, threshold] of hidden units that are left."""
    return measured.units.sum("layer") / measured.width.sum("layer")


def needed(measured: xr.Dataset) -> xr.DataArray:
    """Returns the smallest share of hidden units [variant, seed] at which the error is at most `MARGIN` above
    the whole network's error. The share is 1 if no threshold gives such an error."""
    as_good = measured.error <= measured.whole_error + MARGIN + _ROUNDING
    return shares(measured).where(as_good, 1.0).min("threshold")


def judge(measured: xr.Dataset, main: xr.Dataset) -> tuple[Verdict, ...]:
    """Returns the verdict on C11 alone."""
    return (c11(measured),)


def c11(measured: xr.Dataset) -> Verdict:
    """Judges C11: redundant units waste capacity (Section 1.1). `measured` is from `measure`."""
    share = needed(measured)
    counts = [
        f"{int(diverged.sum())} of {diverged.size} {diverged.variant.values}"
        for diverged in measured.diverged
        if diverged.any()
    ]
    remark = (
        f"For each threshold of |rho| from {THRESHOLDS[-1]:g} to {THRESHOLDS[0]:g}, units are merged into "
        "units that predict them. We compare the smallest shares of hidden units with which the validation "
        f"error is at most {100 * MARGIN:g} percentage points above that of the whole network."
    )
    if counts:
        without = _above(share.where(measured.diverged == 0))
        remark += (
            f" Networks that diverged ({', '.join(counts)}) are given the error of guessing, for which no "
            f"unit is needed. Without these networks: {without.verdict} ({without.counts})."
        )
    return _above(share, remark)


def _above(share: xr.DataArray, remark: str = "") -> Verdict:
    differences = {
        (more, less): share.sel(variant=more.name).values - share.sel(variant=less.name).values
        for more in (CORR_10, CORR_01)
        for less in (VANILLA, DROP)
    }
    return Verdict(
        "C11",
        "1.1",
        "This phenomenon of partially-redundant feature representations also has the unwanted side-effect of "
        "decreasing the expressive power of the network.",
        above_zero(
            differences,
            label=lambda pair: f"share of units needed: {pair[0].name} - {pair[1].name}",
            quantity=Quantity("difference in hidden units needed (percentage points)", 100.0, 0.5),
        ),
        remark,
    )


def tables(measured: xr.Dataset) -> list[Table]:
    """Returns a table of the share of units that a network needs. Networks that diverged are left out."""
    rows = []
    for share, diverged in zip(needed(measured), measured.diverged, strict=True):
        kept = share.values[diverged.values == 0]
        mean, least, most = (
            f"{number(kept):.3f}" if kept.size else "nan" for number in (np.mean, np.min, np.max)
        )
        counts = f"{int(diverged.sum())} of {diverged.size}"
        rows.append((str(share.variant.values), mean, f"{least} to {most}", counts))
    return [
        Table(("networks", "share of hidden units needed, mean", "least to most", "diverged, left out"), rows)
    ]


def figure(measured: xr.Dataset) -> Figure:
    """Draws validation error against the share of hidden units left, without networks that diverged. Thin
    lines are seeds. Thick lines are means over seeds at each threshold. The whole network is at 100%."""
    panel, axes = drawing.grid(1, 1, width=5.6, height=3.0)
    ((ax,),) = axes
    share, error, notes = 100 * shares(measured), 100 * measured.error, []
    for name in map(str, measured.variant.values):
        variant = Variant.parse(name)
        finite = measured.diverged.sel(variant=name).values == 0
        whole = 100 * measured.whole_error.sel(variant=name).values[finite]
        x, y = (
            np.column_stack([first, later.sel(variant=name).values[finite]])
            for first, later in ((np.full_like(whole, 100), share), (whole, error))
        )
        ax.plot(x.T, y.T, color=style.colour(variant), alpha=0.3, linewidth=0.5)
        if finite.any():
            mean = x.mean(axis=0), y.mean(axis=0)
            ax.plot(*mean, linewidth=1.8, label=variant.title, **style.line(variant))
        if count := (~finite).sum():
            notes.append(f"{name}: {count}/{finite.size} diverged")
    drawing.note(ax, 0.02, 0.05, notes, xycoords="axes fraction", ha="left", va="bottom", size=8)
    ax.set_xlim(0, 102)
    ax.set_ylim(0, 12)
    ax.set_xlabel("hidden units left after merging (%)", size=9)
    ax.set_ylabel("validation error (%)", size=9)
    drawing.legend(panel, ax)
    return panel


STUDY = Study(
    "merging",
    make_cells("mnist", RELEASED, ("medium",), ("vanilla", "drop", "corr-0.1", "corr-1.0"), seeds=10),
    measure,
    DIMENSIONS,
    judge,
    Exhibit(
        "merging",
        "How many units can be merged before the error rises",
        lambda measured: (
            "For each threshold of |rho|, units are merged into units that predict them, layer after layer. "
            "The table shows the smallest share of hidden units with which the error is at most "
            f"{100 * MARGIN:g} percentage points above that of the whole network."
        ),
        figure,
        tables,
    ),
)
