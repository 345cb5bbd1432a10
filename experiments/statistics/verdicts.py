"""Verdicts on the paper's sentences, decided by `RULE`."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from experiments.statistics import intervals
from experiments.statistics.intervals import Interval

RULE = (
    "We turn each sentence of the paper into comparisons. A comparison gives one number per seed: the "
    "difference between two networks that started from the same weights and saw the same batches. "
    "It is for or against the sentence if the mean difference is statistically significant (p < 0.05). "
    "The test is an exact two-sided sign-flip test, corrected by Holm for all comparisons of the sentence. "
    "With fewer than six seeds no difference can be significant. All other comparisons are open. "
    "Where the sentence names a value, the 95% bootstrap interval of the mean decides. The comparison is for "
    "the sentence if the interval lies within a margin of the value, against it if the interval lies "
    "outside, and open otherwise. Where the sentence is about each network and not about the mean, the "
    "numbers of all seeds must agree with it. "
    "A sentence holds if all its comparisons are for it, and holds in part if some are. It does not hold "
    "if none is for it and some are against it. Otherwise it cannot be told. "
    "Each interval shown is for one mean alone. It is not corrected for the number of comparisons."
)
"""The rule by which verdicts are decided, in the words that pages show."""

LEVEL = 0.05
"""A comparison is decided if its corrected p is below this."""
Outcome = Literal["for", "against", "open"]
Key = TypeVar("Key", bound=Hashable)


class Quantity(NamedTuple):
    """How pictures show the values of a comparison: the axis title, and a scale."""

    title: str = "difference"
    scale: float = 1.0
    """In pictures, values are multiplied by this: by 100 for percentage points."""
    far: float = float("inf")
    """A value farther from 0 than this belongs to a network that diverged."""


PLAIN = Quantity()
ERRORS = Quantity("difference in error (percentage points)", 100.0, 0.5)
"""Differences in error. Networks that diverged are given the error of guessing."""
CORRELATIONS = Quantity("difference in mean |rho|")


@dataclass(frozen=True)
class Comparison:
    """Numbers, one for each seed, about which a sentence of the paper makes a claim. The claim is that the
    numbers are above `expected` or, where the sentence names a value, that they equal this value. In the
    second case, `expected` is this value."""

    what: str
    values: np.ndarray
    """[seed], NaN where a network is missing or has no such number."""
    interval: Interval
    """The mean, with its 95% bootstrap interval."""
    outcome: Outcome
    expected: float = 0.0
    p: float = float("nan")
    """The corrected p value of the sign-flip test; NaN where the sentence names a value."""
    tolerance: float | None = None
    """Allowed distance of each value from `expected`; None where only the mean is judged."""
    margin: float | None = None
    """Allowed distance of the mean from `expected`, where the sentence names a value."""
    quantity: Quantity = PLAIN
    key: Hashable = None
    """Identifies what is compared. `what` says the same in words."""

    @property
    def bound(self) -> float:
        """The largest absolute difference that the mean's interval allows. Where the sentence names a value,
        the bound is the interval's largest distance from this value."""
        centre = self.expected if np.isnan(self.p) else 0.0
        return max(abs(self.interval.low - centre), abs(self.interval.high - centre))

    @property
    def finite(self) -> np.ndarray:
        """The values that are not NaN."""
        return self.values[np.isfinite(self.values)]


@dataclass(frozen=True)
class Verdict:
    """The verdict on a sentence of the paper."""

    claim: str
    section: str
    sentence: str
    comparisons: tuple[Comparison, ...]
    remark: str = ""
    of: str = "seeds"
    """Plural name of the axis of each comparison's values: seeds, samples, entries or data sets."""

    @property
    def verdict(self) -> str:
        outcomes = [comparison.outcome for comparison in self.comparisons]
        if outcomes and set(outcomes) == {"for"}:
            return "holds"
        if "for" in outcomes:
            return "holds in part"
        return "does not hold" if "against" in outcomes else "cannot be told"

    def comparison(self, key: Hashable) -> Comparison:
        """Returns the comparison that has this key."""
        (comparison,) = (comparison for comparison in self.comparisons if comparison.key == key)
        return comparison

    @property
    def exact(self) -> bool:
        """Whether every value must be as expected, not only the mean of the values."""
        return all(comparison.tolerance is not None for comparison in self.comparisons)

    @property
    def counts(self) -> str:
        """How many comparisons are for the sentence, against it and open."""
        outcomes = [comparison.outcome for comparison in self.comparisons]
        return ", ".join(str(outcomes.count(kind)) for kind in ("for", "against", "open"))


def above_zero(
    differences: Mapping[Key, np.ndarray],
    margins: Mapping[Key, float] | None = None,
    label: Callable[[Key], str] = str,
    quantity: Quantity = ERRORS,
) -> tuple[Comparison, ...]:
    """Returns the comparisons for a claim that all these paired differences [seed] are positive on
    average. With a margin, the claim is that no mean is below zero by more than the margin (non-inferiority).
    `label` turns a key into words."""
    expected = {key: -(margins or {}).get(key, 0.0) for key in differences}
    kept = {key: values[np.isfinite(values)] for key, values in differences.items()}
    p = [intervals.sign_flip_p(finite - expected[key]) for key, finite in kept.items()]
    comparisons = []
    for (key, values), corrected in zip(differences.items(), intervals.holm(np.array(p)), strict=True):
        interval = intervals.bootstrap(kept[key])
        outcome: Outcome = "open"
        if corrected < LEVEL:
            outcome = "for" if interval.estimate > expected[key] else "against"
        comparisons.append(
            Comparison(
                label(key),
                values,
                interval,
                outcome,
                expected[key],
                float(corrected),
                quantity=quantity,
                key=key,
            )
        )
    return tuple(comparisons)


def equal(what: str, values: np.ndarray, expected: float, margin: float, quantity: Quantity) -> Comparison:
    """Returns the comparison for a claim that the mean of values [seed] is within a margin of `expected`."""
    interval = intervals.bootstrap(values[np.isfinite(values)])
    outcome: Outcome = "open"
    if np.isfinite(values).sum() >= 6:  # as many as a sign-flip test needs
        if expected - margin <= interval.low and interval.high <= expected + margin:
            outcome = "for"
        elif interval.high < expected - margin or expected + margin < interval.low:
            outcome = "against"
    return Comparison(what, values, interval, outcome, expected, margin=margin, quantity=quantity)


def always(what: str, values: np.ndarray, expected: float, tolerance: float) -> Comparison:
    """Returns the comparison for a claim that every value is as expected, not just the mean."""
    outcome: Outcome = "for" if (abs(values - expected) <= tolerance).all() else "against"
    return Comparison(what, values, intervals.bootstrap(values), outcome, expected, tolerance=tolerance)
