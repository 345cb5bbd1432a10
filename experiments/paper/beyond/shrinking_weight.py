"""Judges C8 with a shrinking weight and a constant learning rate, as planned in PLAN.md, part 2."""

from dataclasses import replace

import xarray as xr

from experiments.grid.cells import make_cells
from experiments.grid.networks import SIZES, Network, Variant
from experiments.grid.protocols import CORR_10, RELEASED, VANILLA
from experiments.paper import claims
from experiments.paper.study import Study
from experiments.statistics.verdicts import Verdict, above_zero

SHRINKING = Variant.parse("corr-1.0-cosine")
"""The variant whose weight falls like the learning rate of `protocols.DECAY`."""


def judge(cosine: xr.Dataset, main: xr.Dataset) -> tuple[Verdict, ...]:
    """Judges C8 for a shrinking weight, against the main sweep's vanilla networks."""
    differences = {
        Network(size, SHRINKING): claims.error(cosine, Network(size, SHRINKING), -1)
        - claims.error(main, Network(size, VANILLA), -1)
        for size in reversed(SIZES)
    }
    constant = claims.c8(main)
    means = ", ".join(
        f"{interval.estimate:.4f} ({size}, {interval.high:.4f} at most)"
        for size in reversed(SIZES)
        for interval in [constant.comparison(Network(size, CORR_10)).interval]
    )
    return (
        replace(
            constant,
            claim="C8-cosine",
            comparisons=above_zero(differences, label=claims.minus_vanilla),
            remark=f"The penalty's weight falls from {CORR_10.number} to 0 by a half cosine. We compare the "
            f"error after the last epoch. With a constant weight, the mean differences are {means}."
            + claims.on_diverged(cosine, (SHRINKING,)),
        ),
    )


STUDY = Study(
    "mnist-cosine", make_cells("mnist", RELEASED, tuple(SIZES), (SHRINKING.name,), seeds=10), judge=judge
)
