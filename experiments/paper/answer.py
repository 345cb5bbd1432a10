"""The top of the page: the answer in a few sentences, and a title for each claim."""

from collections.abc import Mapping, Sequence

import xarray as xr

from experiments.grid.networks import Network
from experiments.grid.protocols import CORR_10, EARLY
from experiments.paper import claims
from experiments.paper.claims import HUGE_VANILLA
from experiments.statistics.verdicts import Verdict
from experiments.store.gathered import configuration

_PENALISED = Network("huge", CORR_10)
_TITLES = {
    "C1": "Dropout multiplies correlations by p^2",
    "C2": "Dropout lowers the correlations of layer 1",
    "C3": "The formula of the gradient",
    "C4": "More weight, less correlation",
    "C5": "With the penalty, smaller networks lose less",
    "C6": "With too much weight, smaller networks lose more",
    "C7": "More weight, faster learning at first",
    "C8": "Too much weight hurts in the end",
    "C9": "A shrinking learning rate keeps the early gain at no cost",
    "C10": "Correlations are better to penalise than covariances",
    "C11": "Redundant units waste capacity",
    "C12": "More weight, less correlation, in convolutional layers",
}
_STUDIES = {
    "forty": "40 seeds",
    "decay": "shrinking learning rate",
    "cosine": "shrinking weight",
    "conv": "convolutional networks",
}
_NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


def title(claim: str) -> str:
    """Returns the short title of a claim."""
    name, _, study = claim.partition("-")
    return f"{_TITLES[name]} ({_STUDIES[study]})" if study else _TITLES[name]


def name_of(dataset: str) -> str:
    """Returns the name of a data set as prose writes it, such as MNIST for mnist."""
    return _NAMES.get(dataset, dataset)


def sentences(
    sweep: xr.Dataset, verdicts: Sequence[Verdict], shares: Mapping[str, tuple[int, int]]
) -> list[str]:
    """Returns the answer in three parts: the penalty's effect on correlations, its effect on the error, and
    the number of reproduced values. The sweep must have all of the paper's networks."""
    (c4,) = (verdict for verdict in verdicts if verdict.claim == "C4")
    supported = [comparison.outcome for comparison in c4.comparisons].count("for")
    early, late = (
        [100 * claims.error(sweep, network, epoch).mean() for network in (HUGE_VANILLA, _PENALISED)]
        for epoch in (min(EARLY, sweep.sizes["epoch"]), -1)
    )
    stored = configuration(sweep)
    inside, of = shares["all"]
    other = "" if stored["dataset"] == "mnist" else f", although these networks saw {stored['dataset']}"
    return [
        f"In {supported} of {len(c4.comparisons)} comparisons, more weight means less correlation between "
        "hidden units (C4).",
        f"After {EARLY} epochs, the largest network's error is {_side(early)} with weight 1.0 than without "
        f"the penalty ({early[1]:.1f}% against {early[0]:.1f}%, C7). After {sweep.sizes['epoch']} epochs, it "
        f"is {_side(late)} ({late[1]:.1f}% against {late[0]:.1f}%, C8).",
        f"{inside} of the paper's {of} published numbers lie within the 95% range of a single run of our "
        f"reproduction{other}.",
    ]


def _side(errors: Sequence[float]) -> str:
    """Returns "lower" if the second error is lower than the first, else "higher"."""
    return "lower" if errors[1] < errors[0] else "higher"
