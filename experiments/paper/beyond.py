"""What the paper leaves open, judged on other sweeps of the reference run: as PLAN.md says."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from experiments.grid.networks import SIZES, Network, Size, Variant
from experiments.grid.protocols import BY_WEIGHT, CORR_01, CORR_10, EARLY, VANILLA
from experiments.paper import claims
from experiments.statistics.verdicts import Verdict, above_zero
from experiments.store.gathered import networks

SHRINKING = Variant.parse("corr-1.0-cosine")
"""Its weight falls as the learning rate of `protocols.DECAY` does."""

MARGIN = 0.001
"""An error that is not more than this above another is not worse: a tenth of a percentage point."""


CONVOLUTIONAL: tuple[Size, ...] = ("tiny", "small")
"""Sizes of the convolutional networks; what needs one, takes the last."""


def judge(main: xr.Dataset, others: Mapping[str, xr.Dataset]) -> tuple[Verdict, ...]:
    """What can be judged of the sweep `mnist` and others, by name, that were trained to their end."""
    verdicts = []
    if (forty := _whole(others, "mnist-forty", SIZES, (VANILLA, CORR_01))) is not None:
        verdicts.append(c5_forty(main, forty))
    if (decay := _whole(others, "mnist-decay", SIZES, (*BY_WEIGHT, SHRINKING))) is not None:
        verdicts += [c9(decay), _named(claims.c6(decay), "decay"), _named(claims.c8(decay), "decay")]
    if (cosine := _whole(others, "mnist-cosine", SIZES, (SHRINKING,))) is not None:
        verdicts.append(c8_shrinking(main, cosine))
    if (conv := _whole(others, "fashion_mnist-conv", CONVOLUTIONAL, BY_WEIGHT)) is not None:
        verdicts += [
            c12(conv),
            *(_named(claim(conv, CONVOLUTIONAL), "conv") for claim in (claims.c7, claims.c8)),
        ]
    return tuple(verdicts)


def _whole(
    sweeps: Mapping[str, xr.Dataset], name: str, sizes: Iterable[Size], variants: Iterable[Variant]
) -> xr.Dataset | None:
    """The sweep of a name, if it has all these networks."""
    sweep = sweeps.get(name)
    needed = {Network(size, variant) for size, variant in itertools.product(sizes, variants)}
    return sweep if sweep is not None and needed <= {*networks(sweep)} else None


def _named(judged: Verdict, sweep: str) -> Verdict:
    return replace(judged, claim=f"{judged.claim}-{sweep}")


def c5_forty(main: xr.Dataset, forty: xr.Dataset) -> Verdict:
    """C5 of more seeds than the main sweep has, whose own are among them."""
    judged = _named(claims.c5(forty), "forty")
    unseen = claims.c5(forty.isel(seed=~forty.seed.isin(main.seed).values))
    seeds = unseen.comparisons[0].values.size
    apart = f" By the {seeds} seeds alone that C5 has not: {unseen.verdict} ({unseen.counts})."
    return replace(judged, remark=judged.remark + apart)


def c9(sweep: xr.Dataset) -> Verdict:
    """Section 4, of networks whose learning rate shrinks."""
    differences: dict[str, np.ndarray] = {}
    margins: dict[str, float] = {}
    for variant in (CORR_10, SHRINKING):
        for size in reversed(SIZES):
            early, last = (
                claims.error(sweep, Network(size, VANILLA), epoch)
                - claims.error(sweep, Network(size, variant), epoch)
                for epoch in (EARLY, -1)
            )
            differences[f"{size}: vanilla - {variant.name}, epoch {EARLY}"] = early
            differences[what := f"{size}: vanilla - {variant.name}, last epoch (margin {MARGIN})"] = last
            margins[what] = MARGIN
    return Verdict(
        "C9",
        "4",
        "It may be possible to use a dynamic learning rate which shrinks over the course of training in "
        "order to take advantage of this initial drop in error without impeding the long-term training "
        "process.",
        above_zero(differences, margins),
        "A learning rate that falls to 0 by a half cosine. Kept: fewer errors than vanilla after "
        f"{EARLY} epochs. Not impeded: after the last not more than {100 * MARGIN:g} percentage points above "
        "vanilla of the same schedule." + claims.on_diverged(sweep, (VANILLA, CORR_10, SHRINKING)),
    )


def c8_shrinking(main: xr.Dataset, cosine: xr.Dataset) -> Verdict:
    """C8 of a penalty whose weight shrinks while the rate stays, against the main sweep's vanilla."""
    shrinking = {
        f"{size}: {SHRINKING.name} - vanilla": claims.error(cosine, Network(size, SHRINKING), -1)
        - claims.error(main, Network(size, VANILLA), -1)
        for size in reversed(SIZES)
    }
    constant = claims.c8(main)
    intervals = {each.what: each.interval for each in constant.comparisons}
    found = {size: intervals[f"{size}: {CORR_10.name} - vanilla"] for size in reversed(SIZES)}
    means = ", ".join(
        f"{each.estimate:.4f} ({size}, {each.high:.4f} at most)" for size, each in found.items()
    )
    return replace(
        constant,
        claim="C8-cosine",
        comparisons=above_zero(shrinking),
        remark="Validation error after the last epoch, the penalty's weight having fallen from "
        f"{CORR_10.number} to 0 by a half cosine. With the weight constant the means are {means}."
        + claims.on_diverged(cosine, (SHRINKING,)),
    )


def c12(sweep: xr.Dataset) -> Verdict:
    """Section 4, of convolutional networks: C4's comparisons."""
    return replace(
        claims.c4(sweep, CONVOLUTIONAL[-1]),
        claim="C12",
        section="4",
        sentence="Another useful extension would be to extend the correlation regularizer so that it can be "
        "applied to convolutional layers.",
        remark="Applied so, channels being units and positions samples, more weight means less correlation: "
        "mean |rho| of each layer, over the positions of minibatches.",
    )
