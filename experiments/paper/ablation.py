"""Measures, for each step from the paper's text to the released code, the distance from Figure 4."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import xarray as xr

from experiments.grid.networks import Network, Recipe
from experiments.grid.protocols import ABLATION, EARLY, WITHOUT
from experiments.paper import published
from experiments.store.gathered import networks


class Step(NamedTuple):
    """The errors that Figure 4 shows, measured on the networks of one protocol."""

    name: str
    errors: dict[Network, float]
    """Mean error of each network after 2 epochs. Seeds that diverged are given the error of guessing."""
    distance: float
    """The mean absolute difference of these errors from the published bars."""
    diverged: int
    """Number of networks whose loss became infinite or NaN within 2 epochs. Other networks may be
    close to divergence."""
    networks: int


def steps(sweeps: Mapping[str, xr.Dataset]) -> list[Step]:
    """Measures the protocols of `protocols.ABLATION`. Each protocol keeps the steps of earlier protocols."""
    names = ["the text, Table 1 as printed", *("+ " + _step(protocol) for protocol in ABLATION[1:])]
    return list(_measured(sweeps, ABLATION, names))


def without(sweeps: Mapping[str, xr.Dataset]) -> list[Step]:
    """Measures the protocols of `protocols.WITHOUT`: each is the released code without one step."""
    return list(_measured(sweeps, WITHOUT, ["without " + _step(protocol) for protocol in WITHOUT]))


def _step(protocol: Recipe) -> str:
    return protocol.name.removeprefix("ablation-").removeprefix("released-without-")


def _measured(
    sweeps: Mapping[str, xr.Dataset], protocols: Sequence[Recipe], names: Sequence[str]
) -> Iterator[Step]:
    """Yields a step for each protocol whose sweep has all networks of Figure 4."""
    bars = published.FIGURE_4_BY_NETWORK
    for protocol, name in zip(protocols, names, strict=True):
        sweep = sweeps.get(protocol.name)
        if sweep is None or not {*bars} <= {*networks(sweep)}:
            continue
        sweep = sweep.sel(cell=[network.name for network in bars])
        errors = sweep.validation_error.sel(epoch=EARLY).mean("seed").values
        yield Step(
            name=name,
            errors=dict(zip(bars, errors.tolist(), strict=True)),
            distance=float(abs(errors - list(bars.values())).mean()),
            diverged=int((sweep.diverged_epoch > 0).sum()),
            networks=sweep.diverged_epoch.size,
        )
