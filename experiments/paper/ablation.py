"""From the paper's text to the released code, one step at a time: which step makes Figure 4?"""

from collections.abc import Mapping
from typing import NamedTuple

import xarray as xr

from decorr.config import Network
from experiments.paper import published
from experiments.paper.protocols import ABLATION, EARLY
from experiments.store.sweep import networks


class Step(NamedTuple):
    """Figure 4 as the networks of one protocol give it."""

    name: str
    errors: dict[Network, float]
    """Mean error after 2 epochs; networks that diverged have that of guessing."""
    distance: float
    """The mean absolute difference of these from the published bars."""
    diverged: int
    """How many networks' loss became infinite or NaN within the 2 epochs; others may be hardly better off."""
    networks: int


def steps(sweeps: Mapping[str, xr.Dataset]) -> list[Step]:
    """The protocols of `protocols.ABLATION` of which sweeps, by name, have all networks of Figure 4."""
    bars = published.FIGURE_4_BY_NETWORK
    taken = []
    for protocol in ABLATION:
        sweep = sweeps.get(protocol.name)
        if sweep is None or not {*bars} <= {*networks(sweep)}:
            continue
        sweep = sweep.sel(cell=[network.name for network in bars])
        errors = sweep.validation_error.sel(epoch=EARLY).mean("seed").values
        step = "+ " + protocol.name.removeprefix("ablation-")
        taken.append(
            Step(
                name="the text, Table 1 as printed" if protocol is ABLATION[0] else step,
                errors=dict(zip(bars, errors.tolist(), strict=True)),
                distance=float(abs(errors - list(bars.values())).mean()),
                diverged=int((sweep.diverged_epoch > 0).sum()),
                networks=sweep.diverged_epoch.size,
            )
        )
    return taken
