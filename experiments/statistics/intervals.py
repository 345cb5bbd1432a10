"""Intervals and a significance test for the values [seed] of a few seeds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """An estimate with its interval. Each of the three numbers is NaN if there are too few values for it."""

    estimate: float
    low: float
    high: float


CONFIDENCE = 0.95
"""Confidence level of every interval."""


def of_mean(values: np.ndarray) -> Interval:
    """Returns Student's 95% confidence interval of the mean: mean +- t s / sqrt(n)."""
    return _student(values, lambda n: n**-0.5)


def of_one_run(values: np.ndarray) -> Interval:
    """Returns Student's 95% prediction interval for one more run: mean +- t s sqrt(1 + 1/n)."""
    return _student(values, lambda n: (1 + 1 / n) ** 0.5)


def _student(values: np.ndarray, width: Callable[[int], float]) -> Interval:
    values = np.asarray(values, np.float64)
    mean = _mean(values)
    if values.size < 2 or np.isnan(mean):
        return Interval(mean, np.nan, np.nan)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, values.size - 1)
    half = float(quantile * values.std(ddof=1) * width(values.size))
    return Interval(mean, mean - half, mean + half)


def _mean(values: np.ndarray) -> float:
    """Returns the mean; NaN if there are no values, or if any value is not finite."""
    return float(values.mean()) if values.size and np.isfinite(values).all() else np.nan


def bootstrap(values: np.ndarray) -> Interval:
    """Returns the bias-corrected and accelerated 95% bootstrap interval of the mean.

    There are 9,999 resamples, drawn with seed 0. For ten values, the interval is somewhat too narrow, because
    ten values say little about the tails. Values that differ only by rounding count as equal.
    """
    values = np.asarray(values, np.float64)
    mean = _mean(values)
    if values.size < 3 or np.isnan(mean):
        return Interval(mean, np.nan, np.nan)
    if np.ptp(values) <= 1e-9 * abs(values).max():
        return Interval(mean, mean, mean)
    result = stats.bootstrap(
        (values,), np.mean, confidence_level=CONFIDENCE, n_resamples=9999, rng=np.random.default_rng(0)
    )
    return Interval(mean, *map(float, result.confidence_interval))


def sign_flip_p(differences: np.ndarray) -> float:
    """Returns the two-sided p value of paired differences, from a sign-flip test.

    p is how often the differences, with random signs, have a mean at least as far from 0 as the observed
    mean. With up to 44 seeds, p is exact, and its smallest possible value is 2^(1-n) for n seeds. With more
    seeds, p comes from 9,999 random sets of signs. The test assumes only that, without an effect, the
    differences are symmetric about 0. Sums count as equal if they differ by at most a billionth of the sum of
    |differences|. So errors must be exact to this degree: see `classification.counted`.
    """
    differences = np.asarray(differences, np.float64)
    if differences.size < 2 or not np.isfinite(differences).all():
        return np.nan
    if not differences.any():
        return 1.0
    least = abs(differences.sum()) - 1e-9 * abs(differences).sum()
    if differences.size > 44:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (9999, differences.size))
        return float((1 + (abs(signs @ differences) >= least).sum()) / 10_000)
    # Counts how many of the 2^n sums are at least as large as the observed sum. For each sum of the left
    # half, it counts the sums of the right half that bring the total to this size.
    left, right = (np.sort(_signed_sums(half)) for half in np.array_split(differences, 2))
    as_large = right.size - np.searchsorted(right, least - left)
    return float(min(1.0, 2 * as_large.sum() / 2.0**differences.size))


def _signed_sums(values: np.ndarray) -> np.ndarray:
    """Returns the sums of values for all 2^n choices of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def holm(p: np.ndarray) -> np.ndarray:
    """Corrects p values for the number of comparisons (Holm, 1979). A NaN counts as a comparison
    too, and stays NaN."""
    p = np.asarray(p, np.float64)
    order = np.argsort(np.where(np.isnan(p), 1, p))
    corrected = np.maximum.accumulate(np.fmin(p[order] * np.arange(p.size, 0, -1), 1))
    return np.where(np.isnan(p), np.nan, corrected[np.argsort(order)])
