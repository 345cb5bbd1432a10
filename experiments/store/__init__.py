"""Results and checkpoints on disk, each written completely or not at all. Without JAX."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


def open_sweep(path: str | Path) -> "xr.Dataset":
    """Opens the results of a sweep, your own or a committed one, as one Dataset.

    For example `open_sweep("results/digits-released")`, or
    `open_sweep("experiments/paper/reference/mnist.nc")`.

    Args:
      path: the folder that a sweep wrote, with one file for each network, or one compact file.

    Returns:
      Variables [cell, seed, epoch, ...], such as `validation_error` and `mean_correlation`, with xarray's
      attributes `long_name` and `units`. See `gathered.gather`.

    Raises:
      ResultsError: there are no results at the path, or they belong to several sweeps.
    """
    from experiments.disk.files import expanded
    from experiments.store import compact, gathered

    path = expanded(path)
    return compact.load(path) if path.is_file() else gathered.gather(path)
