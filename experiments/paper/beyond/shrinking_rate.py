"""Judges C9, C6 and C8 with a learning rate that shrinks, as planned in PLAN.md, part 2."""

import xarray as xr

from experiments.grid.cells import make_cells
from experiments.grid.networks import SIZES, Network
from experiments.grid.protocols import BY_WEIGHT, CORR_10, DECAY, EARLY, VANILLA
from experiments.paper import claims
from experiments.paper.beyond.shrinking_weight import SHRINKING
from experiments.paper.study import MARGIN, Study, renamed
from experiments.statistics.verdicts import Verdict, above_zero

LAST = -1
"""The last epoch."""


def c9(sweep: xr.Dataset) -> Verdict:
    """Judges C9: a shrinking learning rate keeps the early gain at no cost (Section 4)."""
    differences = {
        (Network(size, variant), epoch): claims.error(sweep, Network(size, VANILLA), epoch)
        - claims.error(sweep, Network(size, variant), epoch)
        for variant in (CORR_10, SHRINKING)
        for size in reversed(SIZES)
        for epoch in (EARLY, LAST)
    }
    margins = {key: MARGIN for key in differences if key[1] == LAST}
    return Verdict(
        "C9",
        "4",
        "It may be possible to use a dynamic learning rate which shrinks over the course of training in "
        "order to take advantage of this initial drop in error without impeding the long-term training "
        "process.",
        above_zero(differences, margins, _label),
        "The learning rate falls to 0 by a half cosine. The early drop is kept if the error after "
        f"{EARLY} epochs is below vanilla's. The long term is not impeded if the error after the last "
        f"epoch is at most {100 * MARGIN:g} percentage points above that of vanilla with the same schedule."
        + claims.on_diverged(sweep, (VANILLA, CORR_10, SHRINKING)),
    )


def _label(key: tuple[Network, int]) -> str:
    network, epoch = key
    when = f"last epoch (margin {100 * MARGIN:g} points)" if epoch == LAST else f"epoch {epoch}"
    return f"{network.size}: vanilla - {network.variant.name}, {when}"


def judge(sweep: xr.Dataset, main: xr.Dataset) -> tuple[Verdict, ...]:
    """Judges C9, C6 and C8 for networks with a shrinking learning rate."""
    return c9(sweep), renamed(claims.c6(sweep), "decay"), renamed(claims.c8(sweep), "decay")


STUDY = Study(
    "mnist-decay",
    make_cells(
        "mnist", DECAY, tuple(SIZES), (*(variant.name for variant in BY_WEIGHT), SHRINKING.name), seeds=10
    ),
    judge=judge,
)
