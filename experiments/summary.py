"""What a sweep found, as a table: means over seeds with Student's 95% intervals."""

from pathlib import Path

import numpy as np
import xarray as xr
from rich.table import Table
from scipy import stats

from experiments import results
from experiments.grid import Cell

EARLY = 2
"""The epoch of the paper's Figure 4."""


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Mean and half-width of Student's confidence interval of the mean; NaN where there are too few."""
    values = np.asarray(values, np.float64)
    mean = float(values.mean()) if values.size else float("nan")
    if values.size < 2:
        return mean, float("nan")
    quantile = stats.t.ppf((1 + level) / 2, values.size - 1)
    return mean, float(quantile * values.std(ddof=1) / values.size**0.5)


def table(folder: Path, cells: tuple[Cell, ...]) -> Table:
    """The table of finished cells: one row a cell; networks that diverged are counted, not averaged."""
    title = "validation error and mean |rho| on the validation set: mean over seeds, 95% interval"
    columns = Table(title=title, title_justify="left")
    columns.add_column("network", no_wrap=True)
    for name in ("seeds", "diverged", f"error, epoch {EARLY}", "error, last epoch"):
        columns.add_column(name, justify="right", no_wrap=True)
    for layer in (1, 2, 3):
        columns.add_column(f"|rho| layer {layer}", justify="right", no_wrap=True)
    for cell in cells:
        with results.read(results.cell_path(folder, cell)) as dataset:
            columns.add_row(*_row(cell, dataset))
    return columns


def _row(cell: Cell, dataset: xr.Dataset) -> list[str]:
    diverged = dataset.diverged_epoch.values > 0
    kept = dataset.isel(seed=~diverged)
    early = kept.validation_error.sel(epoch=EARLY).values if EARLY in kept.epoch else np.zeros(0)
    values = [early, kept.validation_error.isel(epoch=-1).values]
    values += list(kept.mean_correlation.isel(epoch=-1).transpose("layer", "seed").values)
    return [cell.name, str(cell.seeds), str(diverged.sum()), *map(_formatted, values)]


def _formatted(values: np.ndarray) -> str:
    mean, half_width = interval(values)
    if np.isnan(mean):
        return "-"
    return f"{mean:.4f}" if np.isnan(half_width) else f"{mean:.4f} ± {half_width:.4f}"
