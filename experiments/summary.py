"""What a sweep found, as a table: means over seeds with Student's 95% intervals."""

from pathlib import Path

import numpy as np
import xarray as xr
from rich.table import Table

from experiments import intervals, results
from experiments.grid import Cell
from experiments.published import EARLY


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
    mean, _, high = intervals.of_mean(values)
    if np.isnan(mean):
        return "-"
    return f"{mean:.4f}" if np.isnan(high) else f"{mean:.4f} ± {high - mean:.4f}"
