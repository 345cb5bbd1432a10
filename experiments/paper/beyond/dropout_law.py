"""Compares the correlations of trained networks under dropout with three laws (PLAN.md, part 2)."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from experiments.disk import netcdf
from experiments.grid.cells import Cell, make_cells
from experiments.grid.protocols import RELEASED
from experiments.page import drawing
from experiments.page.tables import Table
from experiments.paper.beyond import trained
from experiments.paper.study import Exhibit, Study
from experiments.store import finished

# Only the functions that measure import JAX, because reading results does not need it.
if TYPE_CHECKING:
    from experiments.data.load import Dataset

RATE, DRAWS = 0.3, 20
"""The paper's dropout rate, and the number of masks over which a correlation is averaged."""

LAWS = ("general", "keep^2 rho", "keep rho")
"""Laws that predict correlations under dropout. general: `decorr.dropout_correlation`, with each unit's mean
and variance. keep^2 rho: `decorr.dropout_estimator`, Section 2.1's law for an estimator that does not divide
by variances. keep rho: the general law if all means are 0."""

DIMENSIONS = {
    "slope": ("law", "seed", "layer"),
    "r2": ("law", "seed", "layer"),
    "pairs": ("seed", "layer"),
    "left_out": ("seed", "layer"),
    "counts": ("law", "layer", "predicted", "observed"),
}
"""The axes of each variable that `measure` returns."""

BINS = 80
"""Number of bins from -1 to 1 for the correlations in the pictures."""


def measure(folder: Path, grid: Sequence[Cell], dataset: "Dataset") -> xr.Dataset:
    """Compares observed and predicted correlations under dropout, for all pairs of units in a hidden layer.

    Args:
      folder: the folder of the finished cell.
      grid: one cell, with fully connected networks.
      dataset: the data that the networks were trained on. The validation set is used.

    Returns:
      slope and r2 [law, seed, layer], from `fit`. pairs [seed, layer]: how many pairs were compared. left_out
      [seed, layer]: how many pairs have no correlation, because a unit is constant or the network diverged.
      counts [law, layer, predicted, observed]: the number of pairs in each bin, summed over seeds.
    """
    import jax

    (cell,) = grid
    run, inputs = trained.program(cell, dataset.classes), jax.device_put(dataset.validation.batch(...)[0])
    with netcdf.read(finished.path_of(folder, cell.network)) as stored:
        networks = finished.parameters(stored)
    layers = len(cell.configuration()["widths"])
    shape = len(LAWS), len(networks), layers
    slope, r2 = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    pairs, left_out = np.zeros(shape[1:], np.int32), np.zeros(shape[1:], np.int32)
    counts = np.zeros((len(LAWS), layers, BINS, BINS), np.int32)
    for seed, params in enumerate(networks):
        for layer, activations in enumerate(run(params, inputs)[1]):
            key = jax.random.fold_in(jax.random.key(seed), layer)
            observed, predicted, left_out[seed, layer] = correlations(activations, key)
            pairs[seed, layer] = observed.size
            for law, name in enumerate(LAWS):
                slope[law, seed, layer], r2[law, seed, layer] = fit(observed, predicted[name])
                histogram, *_ = np.histogram2d(predicted[name], observed, BINS, [[-1, 1], [-1, 1]])
                counts[law, layer] += histogram.astype(np.int32)
    variables = {
        "slope": (slope, "of observed on predicted, through the origin"),
        "r2": (r2, "R^2 of observed = predicted"),
        "pairs": (pairs, "pairs compared"),
        "left_out": (left_out, "pairs without a correlation"),
        "counts": (counts, "pairs, all seeds"),
    }
    middles = (np.arange(BINS) + 0.5) * 2 / BINS - 1
    return xr.Dataset(
        {
            name: (DIMENSIONS[name], values, {"long_name": long_name})
            for name, (values, long_name) in variables.items()
        },
        coords={
            "law": list(LAWS),
            "seed": np.arange(len(networks)),
            "layer": np.arange(1, layers + 1),
            "predicted": ("predicted", middles, {"long_name": "middle of the bin of the predicted rho"}),
            "observed": ("observed", middles, {"long_name": "middle of the bin of the observed rho"}),
        },
    )


def correlations(activations: Any, key: Any) -> tuple[np.ndarray, dict[str, np.ndarray], int]:
    """Returns, for each pair of units in a layer, the correlation under dropout and each law's prediction.

    Args:
      activations: [sample, unit], before dropout.
      key: the JAX random key of the masks.

    Returns:
      Pearson's correlations [pair], averaged over the masks; each law's predictions [pair]; and the
      number of pairs left out. A unit that is constant before dropout or under a mask has no correlation.
    """
    matrices = [np.asarray(rho, np.float64) for rho in _matrices()(activations, key)]
    upper = np.triu_indices(activations.shape[-1], 1)
    observed, *predicted = (rho[upper] for rho in matrices)
    defined = np.isfinite([observed, *predicted]).all(axis=0)
    kept = {law: rho[defined] for law, rho in zip(LAWS, predicted, strict=True)}
    return observed[defined], kept, int((~defined).sum())


@functools.cache
def _matrices() -> Callable[[Any, Any], Any]:
    """Returns a compiled function for `correlations`. The function returns the observed correlations
    [unit, unit], then the correlations that each of LAWS predicts."""
    import jax
    import jax.numpy as jnp

    from decorr import correlation_matrix, dropout, dropout_correlation, dropout_estimator

    def matrices(a: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        rho = correlation_matrix(a, undefined=jnp.nan)
        masked = jax.lax.map(
            lambda key: correlation_matrix(dropout(key, a, RATE), undefined=jnp.nan),
            jax.random.split(key, DRAWS),
        )
        ratio = a.mean(axis=0) / a.std(axis=0)
        general = dropout_correlation(rho, RATE, ratio[:, None], ratio[None, :])
        return masked.mean(axis=0), general, dropout_estimator(rho, RATE), dropout_correlation(rho, RATE)

    return jax.jit(matrices)


def fit(observed: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Returns two numbers that say how well a law predicts. Both are 1 for an exact law.

    slope = sum(observed predicted) / sum(predicted^2) is the slope of the least-squares line through the
    origin. It differs from 1 if a law is wrong by a factor. R^2 = 1 - sum((observed - predicted)^2) /
    sum((observed - mean observed)^2) measures the distance from the law itself, not from the line. A wrong
    factor lowers R^2. If R^2 is negative, the mean of the observed values would predict better than the law.

    Args:
      observed, predicted: correlations [pair].

    Returns:
      slope and R^2. A number is NaN if there are no pairs, or if its denominator is 0.
    """
    squares, spread = np.square(predicted).sum(), np.square(observed - _mean(observed)).sum()
    slope = (observed * predicted).sum() / squares if squares else np.nan
    r2 = 1 - np.square(observed - predicted).sum() / spread if spread else np.nan
    return float(slope), float(r2)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan


class Row(NamedTuple):
    """How well a law predicts the correlations of a layer: mean, minimum and maximum over seeds."""

    layer: int
    law: str
    slope: tuple[float, float, float]
    r2: tuple[float, float, float]


def rows(measured: xr.Dataset) -> list[Row]:
    """Returns a row for every layer and law."""

    def summary(values: np.ndarray) -> tuple[float, float, float]:
        finite = values[np.isfinite(values)]
        return (_mean(finite), float(finite.min()), float(finite.max())) if finite.size else (np.nan,) * 3

    return [
        Row(
            layer,
            law,
            *(summary(measured[name].sel(law=law, layer=layer).values) for name in ("slope", "r2")),
        )
        for layer in map(int, measured.layer.values)
        for law in map(str, measured.law.values)
    ]


def tables(measured: xr.Dataset) -> list[Table]:
    """Returns `rows` as a table."""

    def spread(mean: float, least: float, most: float) -> str:
        return f"{mean:.3f} ({least:.3f} to {most:.3f})"

    header = "layer", "law", "slope, mean (least to most)", "R^2"
    return [
        Table(header, [(row.layer, row.law, spread(*row.slope), spread(*row.r2)) for row in rows(measured)])
    ]


def text(measured: xr.Dataset) -> str:
    """Returns the text about the table and the picture."""
    undefined, compared = int(measured.left_out.sum()), int(measured.pairs.sum())
    return (
        "The picture compares the correlations of units under dropout with the predictions of three laws. "
        f"The dropout rate is {RATE:g}, and correlations are averaged over {DRAWS} draws of masks on the "
        "validation set. The slope is that of the least-squares line through the origin. R^2 compares "
        "observed with predicted values, and may be negative. "
        f"{undefined} of {undefined + compared} pairs are left out, because a unit is constant "
        "or the network diverged."
    )


def figure(measured: xr.Dataset) -> Figure:
    """Draws observed against predicted correlations under dropout, for the pairs of all seeds. Each layer has
    a row and each law a column. Darker means more pairs, on a logarithmic scale. On the line, observed and
    predicted correlations are equal. Slope and R^2 are means over seeds."""
    laws, layers = list(map(str, measured.law.values)), list(map(int, measured.layer.values))
    panels, axes = drawing.grid(len(layers), len(laws), width=2.2, height=2.3, sharex=True, sharey=True)
    fits = iter(rows(measured))
    most = max(1, int(measured.counts.max()))
    for row, layer in zip(axes, layers, strict=True):
        for ax, law in zip(row, laws, strict=True):
            counts = measured.counts.sel(law=law, layer=layer).values
            shown = np.where(counts > 0, counts, np.nan).T  # rows are observed
            ax.imshow(
                shown,
                origin="lower",
                extent=(-1, 1, -1, 1),
                norm=LogNorm(1, most),
                cmap="cividis_r",
                interpolation="nearest",
            )
            ax.axline((0, 0), slope=1, color="black", linewidth=0.6)
            fitted = next(fits)
            numbers = f"slope {fitted.slope[0]:.2f}, R^2 {fitted.r2[0]:.2f}"
            ax.set_title(f"layer {layer}, {law}\n{numbers}", size=8)
    for ax in axes[-1]:
        ax.set_xlabel("predicted rho", size=8)
    for ax in axes[:, 0]:
        ax.set_ylabel(f"rho under dropout {RATE:g}", size=8)
    return panels


STUDY = Study(
    "dropout-law",
    make_cells("mnist", replace(RELEASED, epochs=20), ("medium",), ("vanilla",), seeds=10),
    measure,
    DIMENSIONS,
    exhibit=Exhibit("dropout-law", "Three laws of dropout, and trained networks", text, figure, tables),
)
