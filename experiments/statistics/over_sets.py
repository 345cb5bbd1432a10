"""Summaries over data sets and seeds: effects, ranks, and probabilities of improvement.

Scores are errors, so lower is better. The scores of one method are an array [set, seed]. `ranks` takes an
array [method, set].
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.statistics.intervals import Interval

_AT_ONCE = 50
"""The number of resamples for which a statistic is computed at once."""


class Effect(NamedTuple):
    """A log ratio, averaged over sets by a random-effects meta-analysis."""

    interval: Interval
    """The mean, with its 95% interval."""
    p: float
    """The two-sided p value of the null hypothesis that the mean is 0."""
    between: float
    """Standard deviation of the true effects, from set to set."""
    sets: np.ndarray
    """[set], each set's own log ratio."""
    errors: np.ndarray
    """[set], the standard errors of `sets`."""

    def equivalent(self, margin: float) -> float:
        """Returns the p value of two one-sided tests for a mean between -margin and margin (Schuirmann,
        1987)."""
        mean, low, high = self.interval
        mirrored = self._replace(interval=Interval(-mean, -high, -low))
        return max(self.below(margin), mirrored.below(margin))

    def below(self, bound: float) -> float:
        """Returns the p value of a one-sided test for a mean below a bound; NaN for fewer than two sets."""
        if not np.isfinite(self.p):
            return float("nan")
        mean, error = self.interval.estimate, self._error()
        if error == 0:
            return 0.0 if mean < bound else 1.0
        return float(stats.t.sf((bound - mean) / error, len(self.sets) - 1))

    def another_set(self) -> Interval:
        """Returns the mean, with the range that holds the true effect on another such set with probability
        95%.

        The range is mean +- t sqrt(between^2 + error^2), with Student's t as in the mean's interval (Higgins,
        Thompson and Spiegelhalter, A re-evaluation of random-effects meta-analysis, 2009), like metafor's
        after Hartung and Knapp's test.
        """
        mean = self.interval.estimate
        half = _t(len(self.sets)) * float(np.hypot(self.between, self._error()))
        return Interval(mean, mean - half, mean + half)

    def _error(self) -> float:
        """Returns the standard error of the mean."""
        return (self.interval.high - self.interval.estimate) / _t(len(self.sets))


def _t(sets: int) -> float:
    """Returns the quantile of Student's t for a 95% interval; NaN for fewer than two sets."""
    return float(stats.t.ppf(0.975, sets - 1))


def log_ratio(a: np.ndarray, b: np.ndarray) -> Effect:
    """Returns the effect of method a against b: the log ratio of their mean errors, averaged over sets.

    Each set has y = log(mean a / mean b) with variance v = var(a) / (n mean(a)^2) + var(b) / (n mean(b)^2).
    The sets count as a random sample of all possible sets. Their weights are 1 / (v + tau^2), with tau^2 by
    Paule and Mandel. The interval is Hartung and Knapp's: Student's t with sets - 1 degrees of freedom.

    Args:
      a, b: errors [set, seed], with means above 0. Seeds need not be paired.

    Returns:
      An Effect, whose interval is NaN for fewer than two sets.

    Source: Paule and Mandel, Consensus values and weighting factors (1982); Hartung and Knapp, A refined
      method for the meta-analysis of controlled clinical trials (2001).
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not len(a):
        return Effect(Interval(np.nan, np.nan, np.nan), np.nan, np.nan, np.empty(0), np.empty(0))
    y = np.log(a.mean(axis=1) / b.mean(axis=1))
    v = sum(x.var(axis=1, ddof=1) / x.shape[1] / x.mean(axis=1) ** 2 for x in (a, b))
    n = len(y)
    if n < 2:
        return Effect(Interval(float(y[0]), np.nan, np.nan), np.nan, np.nan, y, np.sqrt(v))
    tau2 = _paule_mandel(y, v)
    w = _weights(v + tau2)
    mean = float(w @ y / w.sum())
    error = float(np.sqrt(w @ (y - mean) ** 2 / ((n - 1) * w.sum())))
    half = _t(n) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Effect(Interval(mean, mean - half, mean + half), p, float(np.sqrt(tau2)), y, np.sqrt(v))


def _weights(v: np.ndarray) -> np.ndarray:
    """Returns 1 / v, but for a variance of 0 a large number, of which sums do not overflow."""
    return 1 / np.maximum(v, 1e-200)


def _paule_mandel(y: np.ndarray, v: np.ndarray) -> float:
    """Returns the tau^2 at which sum w (y - mean)^2 equals its expectation n - 1. The result is 0 if the sum
    is smaller than n - 1 even at tau^2 = 0."""

    def excess(tau2: float) -> float:
        w = _weights(v + tau2)
        return float(w @ (y - w @ y / w.sum()) ** 2) - (len(y) - 1)

    low, high = 0.0, float(np.ptp(y) ** 2)
    if high == 0 or excess(0.0) <= 0:
        return 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2


def better(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns P(A > B), the probability that a network of method a has a lower error than a network of method
    b, averaged over sets.

    Each set gives the share of pairs of seeds in which a has the lower error. Ties count half (Mann and
    Whitney's U).

    Args:
      a, b: errors [..., set, seed].

    Returns:
      The probabilities [...].

    Source: Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks (2021); rliable's
      `probability_of_improvement`.
    """
    a, b = a[..., :, None], b[..., None, :]
    return ((a < b).mean(axis=(-3, -2, -1)) + (a <= b).mean(axis=(-3, -2, -1))) / 2


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Returns the mean of the middle half of all scores [..., set, seed], like rliable's `aggregate_iqm`."""
    in_order = np.sort(scores.reshape(*scores.shape[:-2], -1))
    cut = in_order.shape[-1] // 4
    return in_order[..., cut : in_order.shape[-1] - cut].mean(axis=-1)


def bootstrap_interval(
    statistic: Callable[..., np.ndarray], *scores: np.ndarray, resamples: int = 2000
) -> Interval:
    """Returns a statistic with its 95% bootstrap interval. A resample draws sets, then seeds in each set.

    Args:
      statistic: a function of arrays [..., set, seed] that returns an array [...].
      scores: the arrays [set, seed] that `statistic` takes.
      resamples: the number of resamples.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(0, resamples, _AT_ONCE):
        sets = rng.integers(0, len(scores[0]), (_AT_ONCE, len(scores[0]), 1))
        seeds = (rng.integers(0, x.shape[1], (_AT_ONCE, *x.shape)) for x in scores)
        drawn.append(statistic(*(x[sets, of_set] for x, of_set in zip(scores, seeds, strict=True))))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(statistic(*scores)), float(low), float(high))


class Ranks(NamedTuple):
    """The ranks of methods, and whether they differ."""

    mean: np.ndarray
    """[method], each method's rank, averaged over sets. 1 is best; ties get the mean of their ranks."""
    p: float
    """The p value of Friedman's test, whose null hypothesis is that all methods are alike; NaN for fewer than
    three methods."""
    distance: float
    """Nemenyi's critical distance at the 5% level. Methods whose mean ranks are closer than this do not
    differ significantly."""


def ranks(errors: np.ndarray) -> Ranks:
    """Ranks methods by their errors [method, set].

    Source: Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets (2006).
    """
    k, n = np.shape(errors)
    mean = stats.rankdata(errors, axis=0).mean(axis=1)
    if k < 3:
        p = np.nan
    elif (np.ptp(errors, axis=0) == 0).all():
        p = 1.0
    else:
        p = float(stats.friedmanchisquare(*errors).pvalue)
    distance = float(
        stats.studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    )
    return Ranks(mean, p, distance)


def expected_best(validation: np.ndarray, test: np.ndarray, tried: int) -> float:
    """Returns the expected test error of the trial with the lowest validation error, among `tried` trials
    that are drawn with replacement.

    Args:
      validation: errors [trial].
      test: errors [trial] of the same trials.
      tried: how many trials are drawn.

    Source: Dodge et al., Show Your Work: Improved Reporting of Experimental Results (2019).
    """
    order = np.argsort(validation, kind="stable")
    n = len(order)
    worse = (n - np.arange(n)) / n
    weights = worse**tried - (worse - 1 / n) ** tried
    return float(weights @ np.asarray(test, np.float64)[order])
