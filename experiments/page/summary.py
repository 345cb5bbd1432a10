"""Shows a sweep's results as a table of means over seeds, with Student's 95% intervals."""

import numpy as np
import xarray as xr
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from experiments.statistics import intervals
from experiments.store.gathered import effective_units, split

_TITLE = (
    "validation error, and each layer's mean |rho| and effective number of units on the validation set: "
    "mean over seeds, 95% interval"
)


def show(sweep: xr.Dataset, early: int, console: Console) -> None:
    """Prints a table with one row for each cell, including the errors after an early epoch and after the
    last. If the table is wider than the console, each cell is printed as a paragraph. Networks that
    diverged are counted, not averaged."""
    shown = rows(sweep, early, "+-" if console.options.ascii_only else "±")
    table = Table(title=_TITLE, title_justify="left")
    for name in shown[0]:
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    for row in shown:
        table.add_row(*row.values())
    if Measurement.get(console, console.options.update(max_width=1000), table).maximum <= console.width:
        console.print(table)
        return
    console.print(_TITLE)
    for row in shown:
        console.print("\n" + row.pop("network"))
        for name, value in row.items():
            console.print(f"  {name:17}  {value}", soft_wrap=True)


def rows(sweep: xr.Dataset, early: int, plus_minus: str = "±") -> list[dict[str, str]]:
    """Returns a row for each cell, as a mapping from column to text."""
    return [_row(cell, early, plus_minus) for cell in split(sweep)]


def _row(cell: xr.Dataset, early: int, plus_minus: str) -> dict[str, str]:
    """Returns a cell's row, as a mapping from column to text."""
    diverged = cell.diverged_epoch.values > 0
    kept = cell.isel(seed=~diverged)
    after_early = kept.validation_error.sel(epoch=early).values if early in kept.epoch else np.zeros(0)
    numbers = {
        f"error, epoch {early}": after_early,
        "error, last epoch": kept.validation_error.isel(epoch=-1).values,
    }
    for layer in cell.layer.values:
        numbers[f"|rho| layer {layer}"] = kept.mean_correlation.isel(epoch=-1).sel(layer=layer).values
    counts = {"network": str(cell.cell.values), "seeds": str(diverged.size), "diverged": str(diverged.sum())}
    worth = effective_units(kept).isel(epoch=-1).mean("seed").values
    effective = ", ".join(f"{units:.1f}" if np.isfinite(units) else "-" for units in worth)
    return (
        counts
        | {name: _formatted(values, plus_minus) for name, values in numbers.items()}
        | {"effective units": effective}
    )


def _formatted(values: np.ndarray, plus_minus: str) -> str:
    mean, _, high = intervals.of_mean(values)
    if np.isnan(mean):
        return "-"
    return f"{mean:.4f}" if np.isnan(high) else f"{mean:.4f} {plus_minus} {high - mean:.4f}"
