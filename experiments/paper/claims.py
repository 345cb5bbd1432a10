"""Judges the paper's sentences. Each sentence has a function, which returns a Verdict.

The functions take a sweep from `gather`. C1 and C3 need no sweep.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import xarray as xr

from experiments.grid.networks import SIZES, Network, Size, Variant
from experiments.grid.protocols import BY_WEIGHT, CORR_01, CORR_10, DROP, EARLY, VANILLA
from experiments.paper.simulated import c1, c3
from experiments.paper.slopes import by_slope
from experiments.statistics.verdicts import CORRELATIONS, Quantity, Verdict, above_zero, equal
from experiments.store.gathered import diverged, networks

HUGE_VANILLA, HUGE_DROP = Network("huge", VANILLA), Network("huge", DROP)
BELOW_HUGE: tuple[Size, ...] = tuple(size for size in reversed(SIZES) if size != "huge")


def c2(sweep: xr.Dataset) -> Verdict:
    """Judges C2: dropout lowers correlations (Section 2.2 and Figure 1)."""
    vanilla, drop = (_correlation(sweep, network) for network in (HUGE_VANILLA, HUGE_DROP))
    # NaN for seeds for which vanilla's mean |rho| is 0, because the layer is dead.
    ratio = np.divide(drop, vanilla, out=np.full_like(drop, np.nan), where=vanilla > 0)
    lower = above_zero({"layer 1, huge: mean |rho| of vanilla - drop": vanilla - drop}, quantity=CORRELATIONS)
    as_predicted = equal(
        "as predicted, drop / vanilla = p^2 = 0.49 ± 0.05",
        ratio,
        0.49,
        margin=0.05,
        quantity=Quantity("mean |rho| with dropout / without"),
    )
    ratios = "; ".join(
        f"{ratio[group].mean():.2f} where it is {name} (seeds: {group.sum()})"
        for name, mask in by_slope(sweep, HUGE_VANILLA).items()
        if (group := mask & np.isfinite(ratio)).any()
    )
    return Verdict(
        "C2",
        "2.2",
        "The predicted trend is seen to hold for the correlations within the first layer of each network, "
        "with the mean correlations considerably lower in HUGE-DROPNET than in HUGE-VANILLANET.",
        (*lower, as_predicted),
        "The paper's Figure 1 has the factor 0.67, and p is 0.7. Our factor depends on the PReLU slope that "
        f"layer 1 of the vanilla network ends with: {ratios}."
        if ratios
        else "",
    )


def c4(sweep: xr.Dataset, size: Size = "huge") -> Verdict:
    """Judges C4: more weight means less correlation (Section 3.1 and Figure 2)."""
    differences = {
        (layer, less, more): _correlation(sweep, Network(size, less), layer)
        - _correlation(sweep, Network(size, more), layer)
        for layer in (1, 2, 3)
        for less, more in itertools.pairwise(BY_WEIGHT)
    }

    return Verdict(
        "C4",
        "3.1",
        "As more weight is placed on the correlation regularization terms, the pairwise unit activations "
        "within each layer become less correlated.",
        above_zero(
            differences,
            label=lambda key: f"layer {key[0]}, {size}: {key[1].name} - {key[2].name}",
            quantity=CORRELATIONS,
        ),
        "We compare mean |rho|, as in Figure 2.",
    )


def c5(sweep: xr.Dataset) -> Verdict:
    """Judges C5: the penalty slows the growth of the error in smaller networks (Section 3.2 and Figure 3)."""
    differences = {
        size: _growth(sweep, Network(size, VANILLA)) - _growth(sweep, Network(size, CORR_01))
        for size in BELOW_HUGE
    }
    return Verdict(
        "C5",
        "3.2",
        "The validation error grows more slowly with shrinking size for CORRNET-0.1 than for VANILLANET.",
        above_zero(differences, label=lambda size: f"{size}: growth of vanilla - growth of corr-0.1"),
        "Growth is the error after the last epoch minus that of the huge network with the same variant and "
        "seed." + on_diverged(sweep, (VANILLA, CORR_01)),
    )


def c6(sweep: xr.Dataset) -> Verdict:
    """Judges C6: large weights reverse the trend of C5 (Section 3.2)."""
    differences = {
        Network(size, variant): _growth(sweep, Network(size, variant))
        - _growth(sweep, Network(size, VANILLA))
        for variant in _heavy(sweep)
        for size in BELOW_HUGE
    }
    return Verdict(
        "C6",
        "3.2",
        "This trend reverses itself when substantially larger weights are placed on the regularization "
        "terms.",
        above_zero(
            differences,
            label=lambda network: f"{network.size}: growth of {network.variant.name} - growth of vanilla",
        ),
        "For every weight of 1.0 or more in this sweep, we compare the growth that C5 defines with vanilla's "
        "growth. We do so even if C5 found no trend that could reverse."
        + on_diverged(sweep, (VANILLA, *_heavy(sweep))),
    )


def c7(sweep: xr.Dataset, sizes: Sequence[Size] = tuple(SIZES)) -> Verdict:
    """Judges C7: more weight lowers the error faster at first (Section 3.3 and Figure 4)."""
    differences = {
        (size, less, more): error(sweep, Network(size, less), EARLY)
        - error(sweep, Network(size, more), EARLY)
        for size in reversed(sizes)
        for less, more in itertools.pairwise(BY_WEIGHT)
    }

    return Verdict(
        "C7",
        "3.3",
        "The more weight is placed on the regularizer, the more rapidly validation error drops over the "
        "first few epochs.",
        above_zero(differences, label=lambda key: f"{key[0]}: {key[1].name} - {key[2].name}"),
        f"We compare the error after {EARLY} epochs, as in Figure 4." + on_diverged(sweep, BY_WEIGHT, EARLY),
    )


def c8(sweep: xr.Dataset, sizes: Sequence[Size] = tuple(SIZES)) -> Verdict:
    """Judges C8: too much weight raises the error in the end (Section 3.3)."""
    differences = {
        Network(size, variant): error(sweep, Network(size, variant), -1)
        - error(sweep, Network(size, VANILLA), -1)
        for variant in _heavy(sweep)
        for size in reversed(sizes)
    }
    return Verdict(
        "C8",
        "3.3",
        "Placing too high a weight on the correlation regularizer adversely effects a network's ability to "
        "learn in the long-term.",
        above_zero(differences, label=minus_vanilla),
        "We compare the error after the last epoch, for every weight of 1.0 or more in this sweep."
        + on_diverged(sweep, (VANILLA, *_heavy(sweep))),
    )


def minus_vanilla(network: Network) -> str:
    """Returns the label of a comparison of C8."""
    return f"{network.size}: {network.variant.name} - vanilla"


def judge(sweep: xr.Dataset) -> tuple[Verdict, ...]:
    """Judges all claims. Comparisons whose cells are missing have no values and stay open."""
    return (c1(), c2(sweep), c3(), *(claim(sweep) for claim in (c4, c5, c6, c7, c8)))


def _heavy(sweep: xr.Dataset) -> list[Variant]:
    """Returns the sweep's variants with a constant weight of 1.0 or more, by rising weight. corr-1.0 is
    included even if it was not trained."""
    variants = {network.variant for network in networks(sweep)}
    weighted = {
        variant for variant in variants if (variant.kind, variant.schedule) == (CORR_10.kind, "constant")
    }
    heavy = (variant for variant in weighted | {CORR_10} if variant.order >= CORR_10.order)
    return sorted(heavy, key=lambda variant: variant.order)


def error(sweep: xr.Dataset, network: Network, epoch: int) -> np.ndarray:
    """Returns the validation error [seed] after an epoch; NaN if the network was not trained that long.

    Epochs count from 1, and -1 is the last one. A network that diverged has the error of guessing, because
    leaving it out would flatter its variant.
    """
    if network not in networks(sweep) or epoch > sweep.sizes["epoch"]:
        return np.full(sweep.sizes["seed"], np.nan)
    # Selecting all variables of the cell would take ten times as long.
    errors = sweep.validation_error.sel(cell=network.name)
    return errors.isel(epoch=epoch if epoch < 0 else epoch - 1).values


def on_diverged(sweep: xr.Dataset, variants: Sequence[Variant], by: int | None = None) -> str:
    """Returns a sentence on the networks that had diverged after epoch `by` (None: the last), or ""."""
    counts = ", ".join(
        f"{count} of {seeds} {network.name}"
        for network, (count, seeds) in diverged(sweep, by).items()
        if network.variant in variants
    )
    return f" Networks that diverged are given the error of guessing: {counts}." if counts else ""


def _growth(sweep: xr.Dataset, network: Network) -> np.ndarray:
    """Returns a network's error [seed] minus that of the huge network with the same variant, after the last
    epoch, as in Figure 3."""
    return error(sweep, network, -1) - error(sweep, Network("huge", network.variant), -1)


def _correlation(sweep: xr.Dataset, network: Network, layer: int = 1) -> np.ndarray:
    """Returns mean |rho| [seed], as in Figures 1 and 2; NaN if the network was not trained."""
    if network not in networks(sweep):
        return np.full(sweep.sizes["seed"], np.nan)
    return sweep.mean_correlation_minibatch.sel(cell=network.name, layer=layer).values
