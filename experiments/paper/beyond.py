"""What the paper leaves open, judged on other sweeps of the reference run: as PLAN.md says."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from decorr.config import SIZES, Network, Variant
from experiments.paper import claims
from experiments.paper.protocols import CORR_10, EARLY, VANILLA
from experiments.statistics.verdicts import Verdict, above_zero

SHRINKING = Variant.parse("corr-1.0-cosine")
"""Its weight falls as the learning rate of `protocols.DECAY` does."""

MARGIN = 0.001
"""An error that is not more than this above another is not worse: a tenth of a percentage point."""


def judge(sweeps: Mapping[str, xr.Dataset]) -> tuple[Verdict, ...]:
    """What can be judged of these sweeps, by name."""
    verdicts = []
    if (forty := sweeps.get("mnist-forty")) is not None:
        verdicts.append(replace(claims.c5(forty), claim="C5-forty"))
    if (decay := sweeps.get("mnist-decay")) is not None:
        verdicts.append(c9(decay))
        for claim in (claims.c6, claims.c8):
            judged = claim(decay)
            verdicts.append(replace(judged, claim=f"{judged.claim}-decay"))
    return tuple(verdicts)


def c9(sweep: xr.Dataset) -> Verdict:
    """Section 4, of networks whose learning rate shrinks."""
    differences: dict[str, np.ndarray] = {}
    for variant in (CORR_10, SHRINKING):
        for size in reversed(SIZES):
            early, last = (
                claims.error(sweep, Network(size, VANILLA), epoch)
                - claims.error(sweep, Network(size, variant), epoch)
                for epoch in (EARLY, -1)
            )
            differences[f"{size}: vanilla - {variant.name}, epoch {EARLY}"] = early
            differences[f"{size}: vanilla - {variant.name} + {MARGIN}, last epoch"] = last + MARGIN
    return Verdict(
        "C9",
        "4",
        "It may be possible to use a dynamic learning rate which shrinks over the course of training in "
        "order to take advantage of this initial drop in error without impeding the long-term training "
        "process.",
        above_zero(differences),
        "A learning rate that falls to 0 by a half cosine. Kept: fewer errors than vanilla after "
        f"{EARLY} epochs. Not impeded: after the last not more than {100 * MARGIN:g} percentage points above "
        "vanilla of the same schedule." + claims.on_diverged(sweep, (VANILLA, CORR_10, SHRINKING)),
    )
