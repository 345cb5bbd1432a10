"""How a sentence of the paper is judged.

It is cut into comparisons, each one number a seed, paired by seed: the networks of one seed begin with the
same parameters and see the same minibatches. A comparison is `for` or `against` the sentence if an exact
two-sided sign-flip test of its mean, corrected by Holm for the number of comparisons of the claim, has
p < 0.05; else it is `open`. Where the sentence names a value, it is `for` if the bootstrap interval has it,
else `against`. The intervals are 95% bootstrap intervals of each mean alone. A claim holds if all comparisons
are for it, holds in part if some are, does not hold if none is and some are against it, and else cannot be
told.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments import intervals
from experiments.intervals import Interval

LEVEL = 0.05
"""p below this, after correction, decides a comparison."""
Outcome = Literal["for", "against", "open"]


@dataclass(frozen=True)
class Comparison:
    """One number a seed, which the sentence says is above `expected`, or equal to it."""

    what: str
    values: np.ndarray
    """[seed]."""
    interval: Interval
    """The mean, with its 95% bootstrap interval."""
    outcome: Outcome
    expected: float = 0.0
    p: float = float("nan")
    """Of the sign-flip test, corrected; NaN where the sentence names a value."""


@dataclass(frozen=True)
class Verdict:
    """A sentence of the paper, judged."""

    claim: str
    section: str
    sentence: str
    comparisons: tuple[Comparison, ...]
    remark: str = ""

    @property
    def verdict(self) -> str:
        outcomes = [comparison.outcome for comparison in self.comparisons]
        if outcomes and set(outcomes) == {"for"}:
            return "holds"
        if "for" in outcomes:
            return "holds in part"
        return "does not hold" if "against" in outcomes else "cannot be told"

    @property
    def agreeing(self) -> tuple[int, int]:
        """How many means lie where the sentence has them, and of how many, chance or not: all that a few
        seeds can show. Only comparisons that were tested by sign flips."""
        tested = [each for each in self.comparisons if np.isfinite(each.p)]
        return sum(each.interval.estimate > each.expected for each in tested), len(tested)


def above_zero(differences: dict[str, np.ndarray]) -> tuple[Comparison, ...]:
    """Comparisons of a claim that all these paired differences [seed] are positive."""
    kept = {what: values[np.isfinite(values)] for what, values in differences.items()}
    corrected = intervals.holm(np.array([intervals.sign_flip_p(values) for values in kept.values()]))
    comparisons = []
    for (what, values), p in zip(kept.items(), corrected, strict=True):
        interval = intervals.bootstrap(values)
        outcome: Outcome = "open"
        if p < LEVEL:
            outcome = "for" if interval.estimate > 0 else "against"
        comparisons.append(Comparison(what, values, interval, outcome, p=float(p)))
    return tuple(comparisons)


def equal(what: str, values: np.ndarray, expected: float, tolerance: float = 0.0) -> Comparison:
    """A claim that a mean is `expected`: `for` it if the interval, widened by a tolerance, has it."""
    interval = intervals.bootstrap(values[np.isfinite(values)])
    outcome: Outcome = "open"
    if np.isfinite(values).sum() >= 6:  # with fewer no sign-flip test can decide either
        inside = interval.low - tolerance <= expected <= interval.high + tolerance
        outcome = "for" if inside else "against"
    return Comparison(what, values, interval, outcome, expected)
