"""What a sweep found, as a table: means over seeds with Student's 95% intervals."""

import numpy as np
import xarray as xr
from rich.table import Table

from experiments.statistics import intervals
from experiments.store.sweep import split


def table(sweep: xr.Dataset, early: int) -> Table:
    """One row a cell, with the error after an early epoch and the last; networks that diverged are counted,
    not averaged."""
    title = "validation error and mean |rho| on the validation set: mean over seeds, 95% interval"
    columns = Table(title=title, title_justify="left")
    columns.add_column("network", no_wrap=True)
    for name in ("seeds", "diverged", f"error, epoch {early}", "error, last epoch"):
        columns.add_column(name, justify="right", no_wrap=True)
    for layer in sweep.layer.values:
        columns.add_column(f"|rho| layer {layer}", justify="right", no_wrap=True)
    for cell in split(sweep):
        columns.add_row(*_row(cell, early))
    return columns


def _row(cell: xr.Dataset, early: int) -> list[str]:
    diverged = cell.diverged_epoch.values > 0
    kept = cell.isel(seed=~diverged)
    after_early = kept.validation_error.sel(epoch=early).values if early in kept.epoch else np.zeros(0)
    values = [after_early, kept.validation_error.isel(epoch=-1).values]
    values += list(kept.mean_correlation.isel(epoch=-1).transpose("layer", "seed").values)
    return [str(cell.cell.values), str(diverged.size), str(diverged.sum()), *map(_formatted, values)]


def _formatted(values: np.ndarray) -> str:
    mean, _, high = intervals.of_mean(values)
    if np.isnan(mean):
        return "-"
    return f"{mean:.4f}" if np.isnan(high) else f"{mean:.4f} ± {high - mean:.4f}"
