"""A whole sweep as one Dataset [cell, seed, epoch, ...], and functions of such a Dataset."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import xarray as xr

from decorr.chance import debiased, participation
from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.grid.cells import Cell
from experiments.grid.networks import Network, Recipe
from experiments.statistics.classification import counted
from experiments.store import finished
from experiments.store.configuration import check_form, check_together, complete, same_data


def gather(folder: Path, networks: Sequence[Network] | None = None, seeds: int | None = None) -> xr.Dataset:
    """Reads a sweep from its folder of cells.

    Args:
      folder: the folder.
      networks: the networks to gather; None: all in the folder.
      seeds: the number of seeds to gather; None: as many as every cell has.

    Returns:
      All `finished.VARIABLES` with a leading axis `cell`, in the order of Table 1. Cells are named
      SIZE-VARIANT, with coordinates size and variant. `correlation` [cell, unit, other_unit] is rho of the
      last hidden layer over the validation set, for the first seed. Entries beyond the layer's width are NaN.
      Most committed sweeps lack `correlation`. Each cell has its `finished.ATTRIBUTES`. Variables have
      xarray's attributes `long_name` and `units`.

    Raises:
      ResultsError: the folder has no cells, or cells of two sweeps.
    """
    paths = (
        finished.paths(folder)
        if networks is None
        else [finished.path_of(folder, network) for network in networks]
    )
    if not paths:
        raise ResultsError(f"{folder} holds no results: give a sweep's folder")
    gathered = [_cell(path) for path in paths]
    common = min(cell.sizes["seed"] for cell in gathered)
    gathered = [_first_seeds(cell, min(common, seeds or common)) for cell in gathered]
    for path, cell in zip(paths, gathered, strict=True):
        check_together(path, str(cell.configuration.values), str(gathered[0].configuration.values))
    return finished.described(with_counted_errors(concatenate(gathered)))


def _cell(path: Path) -> xr.Dataset:
    with netcdf.read(path) as stored:
        configuration = finished.configuration_of(path, stored)
        network = identify(configuration)
        netcdf.check_dimensions(stored, finished.DIMENSIONS)
        kept = stored[list(finished.VARIABLES)].load()
        rho = stored[f"correlation_{kept.sizes['layer']}"][0].values
        kept = kept.assign({name: stored.attrs[name] for name in finished.ATTRIBUTES})
        kept = kept.assign(correlation=(("unit", "other_unit"), rho))
    units = np.arange(len(rho))
    return kept.assign_coords(
        cell=network.name, size=network.size, variant=network.variant.name, unit=units, other_unit=units
    )


def _first_seeds(cell: xr.Dataset, seeds: int) -> xr.Dataset:
    """Returns a cell with only its first seeds."""
    configured = json.loads(str(cell.configuration.values))
    if configured["seeds"] == seeds:
        return cell
    return cell.isel(seed=slice(seeds)).assign(configuration=json.dumps(configured | {"seeds": seeds}))


def identify(configuration: str) -> Network:
    """Returns the network of a stored configuration. Raises ValueError for any other text."""
    stored = complete(json.loads(configuration))
    network = Network.parse(f"{stored['size']}-{stored['variant']}")
    like = Recipe(widths=(10,))
    check_form(stored, Cell("", network.size, network.variant, 1, like).configuration())
    return network


def concatenate(separate: Iterable[xr.Dataset]) -> xr.Dataset:
    """Returns cells as one Dataset [cell, ...], in the order of Table 1. Narrower layers are filled up with
    NaN. Raises ResultsError if cells were trained on different data."""
    in_order = sorted(separate, key=lambda cell: Network.parse(str(cell.cell.values)).order)
    for cell in in_order:
        identity, first = (str(other.dataset_version.values) for other in (cell, in_order[0]))
        if not same_data(identity, first):
            raise ResultsError(
                f"{cell.cell.values} was trained on other data than {in_order[0].cell.values} "
                f"(version {identity}, not {first}): keep the two in separate folders, by --out"
            )
    return xr.concat(
        in_order,
        dim="cell",
        data_vars="all",
        coords=["size", "variant"],
        compat="equals",
        join="outer",
        combine_attrs="drop",
    )


def with_counted_errors(sweep: xr.Dataset) -> xr.Dataset:
    """Returns the sweep with exact validation errors in float64, by `classification.counted`."""
    stored = sweep.validation_error
    return sweep.assign(validation_error=stored.copy(data=counted(stored.values)))


def split(sweep: xr.Dataset) -> list[xr.Dataset]:
    """Returns the cells of a sweep: the inverse of `concatenate`."""
    return [sweep.isel(cell=i) for i in range(sweep.sizes["cell"])]


def networks(sweep: xr.Dataset) -> list[Network]:
    """Returns the networks of a sweep, in the order of its cells."""
    return [Network.parse(str(name)) for name in sweep.cell.values]


def cell_of(sweep: xr.Dataset, network: Network) -> xr.Dataset:
    """Returns the cell of a network in a sweep."""
    return sweep.sel(cell=network.name)


def error(sweep: xr.Dataset) -> xr.DataArray:
    """Returns the validation error [..., seed, epoch]. It is NaN from the epoch in which a network diverged
    to the last epoch."""
    diverged = sweep.diverged_epoch
    return sweep.validation_error.where((diverged == 0) | (sweep.epoch < diverged))


def effective_units(cell: xr.Dataset) -> xr.DataArray:
    """Returns a cell's effective number of units [seed, epoch, layer] on the validation set.

    Unlike `decorr.effective_units`, this function needs only the mean of P over minibatches, because r2 is
    linear in P. Layers with positions get the raw d / (2P), because their effective number of samples is
    unknown. Correlations by chance make d / (2P) smaller.
    """
    stored = configuration(cell)
    d = xr.DataArray(np.asarray(stored["widths"], float), dims="layer")
    r2 = (2 * cell.penalty - 1) / (d - 1)
    if stored["protocol"]["family"] == "mlp":
        r2 = debiased(r2, stored["protocol"]["optimisation"]["batch_size"])
    return participation(r2, d)


def diverged(sweep: xr.Dataset, by: int | None = None) -> dict[Network, tuple[int, int]]:
    """Returns, for each cell in which networks diverged up to epoch `by` (default: the last), how many did
    so and how many networks the cell has."""
    epoch = sweep.diverged_epoch
    counts = ((epoch > 0) & (epoch <= (by or sweep.sizes["epoch"]))).sum("seed").values
    return {
        network: (int(count), sweep.sizes["seed"])
        for network, count in zip(networks(sweep), counts, strict=True)
        if count
    }


def epoch_seconds(sweep: xr.Dataset) -> dict[Network, float]:
    """Returns, for each cell, the mean time of an epoch in seconds, for one network on one device, such as a
    core."""
    devices = [int(str(text).split(" x ")[0]) for text in sweep.devices.values]
    epochs = sweep.sizes["seed"] * sweep.sizes["epoch"]
    return dict(zip(networks(sweep), (sweep.seconds.values * devices / epochs).tolist(), strict=True))


def expected_seconds(known: Mapping[Network, float], cell: Cell, image_shape: tuple[int, ...]) -> float:
    """Estimates the seconds for an epoch of one of the cell's networks, from other networks' `epoch_seconds`.

    The estimate is the median over networks of the same size, or over all networks if none has this size.
    Each network's time is scaled by its number of multiplications in the hidden layers.
    """

    def products(network: Network) -> int:
        return cell.protocol.products(network.size, image_shape)

    alike = [network for network in known if network.size == cell.size] or [*known]
    return products(cell.network) * median(known[network] / products(network) for network in alike)


def configuration(sweep: xr.Dataset) -> dict:
    """Returns the configuration of a cell, or of a sweep's first cell. A sweep's cells share dataset and
    protocol."""
    return complete(json.loads(str(sweep.configuration.values.flat[0])))
