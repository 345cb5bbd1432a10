"""Intervals and p values agree with SciPy, with a worked example, and with simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from experiments.statistics import intervals
from experiments.statistics.classification import counted

VALUES = np.random.default_rng(0).gamma(2.0, size=9)


def test_the_interval_of_the_mean_is_scipys():
    mean, low, high = intervals.of_mean(VALUES)
    assert mean == pytest.approx(VALUES.mean())
    expected = stats.t.interval(0.95, 8, VALUES.mean(), stats.sem(VALUES))
    assert (low, high) == pytest.approx(expected)


def test_one_more_run_is_inside_as_often_as_it_should_be():
    random = np.random.default_rng(1)
    runs = random.standard_normal((4000, 6))
    inside = 0
    for seen, one in zip(runs[:, :5], runs[:, 5], strict=True):
        _, low, high = intervals.of_one_run(seen)
        inside += low <= one <= high
    assert abs(inside / 4000 - 0.95) < 0.015  # 0.015 is four standard errors


def test_the_bootstrap_is_scipys():
    mean, low, high = intervals.bootstrap(VALUES)
    assert low < mean < high
    expected = stats.bootstrap((VALUES,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert intervals.bootstrap(np.full(5, 2.0)) == (2, 2, 2)


@pytest.mark.slow
def test_the_bootstrap_covers_the_mean_about_as_often_as_it_says():
    samples = np.random.default_rng(2).standard_normal((300, 20)) + 5
    found = [intervals.bootstrap(sample) for sample in samples]
    covered = np.mean([low <= 5 <= high for _, low, high in found])
    assert 0.88 < covered < 0.98  # the interval is somewhat too narrow


@pytest.mark.parametrize("function", [intervals.of_mean, intervals.of_one_run, intervals.bootstrap])
def test_too_few_values_have_no_interval(function):
    for values in ([], [1.0]):
        _, low, high = function(np.array(values))
        assert np.isnan(low) and np.isnan(high)
    assert function(np.array([1.0])).estimate == 1


@pytest.mark.parametrize("function", [intervals.of_mean, intervals.of_one_run, intervals.bootstrap])
def test_values_that_are_not_finite_have_no_mean_and_no_warning(function):
    for undefined in (np.nan, np.inf, -np.inf):
        assert np.isnan(function(np.array([1.0, 2.0, 4.0, np.inf, undefined]))).all()


def test_the_bootstrap_takes_values_that_differ_by_rounding_for_one():
    shares = np.arange(10.0)
    mean, low, high = intervals.bootstrap((shares + 1) / 250 - shares / 250)
    assert mean == low == high == pytest.approx(0.004)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        (np.arange(1.0, 11), 2 / 2**10),  # only all signs flipped give a sum as far from 0
        (-np.arange(1.0, 11), 2 / 2**10),
        (np.array([1.0, -1, 2, -2]), 1.0),
        (np.array([1.0, 1, 1]), 0.25),  # three seeds can never be significant
        (np.zeros(4), 1.0),
        (np.repeat([0.1, -0.1], [28, 12]), stats.binomtest(28, 40).pvalue),  # exact, and with ties
        (np.arange(1.0, 41), 2 / 2**40),
    ],
)
def test_sign_flips(differences, p):
    assert intervals.sign_flip_p(differences) == pytest.approx(p)


def test_sign_flips_of_errors_count_images():
    assert p_of_errors(np.full(8, 20), np.array([21, 20, 21, 21, 19, 21, 21, 21]), 250) == 0.125
    random = np.random.default_rng(3)
    for _ in range(60):
        seeds, samples = random.integers(4, 13), random.choice([250, 297, 10_000])
        first = random.integers(3, samples // 2, seeds)
        second = first + random.integers(-3, 4, seeds)
        differences = second - first
        signs = np.array(list(itertools.product([-1, 1], repeat=seeds)))
        as_large = abs(signs @ differences) >= abs(differences.sum())
        assert p_of_errors(first, second, samples) == as_large.mean()


def p_of_errors(first, second, samples):
    """Returns the p value of errors that are stored as float32, like results."""
    return intervals.sign_flip_p(np.subtract(*counted(np.float32([second, first]) / np.float32(samples))))


def test_random_sign_flips_count_ties_too():
    theirs = np.random.default_rng(4).integers(1000, 5000, 60)
    p = p_of_errors(theirs, theirs + np.repeat([1, -1], [35, 25]), 10_000)
    assert p == pytest.approx(stats.binomtest(35, 60).pvalue, abs=0.015)  # 0.245; without ties, 0.155


def test_sign_flips_of_too_few_or_undefined():
    assert np.isnan(intervals.sign_flip_p(np.array([1.0])))
    assert np.isnan(intervals.sign_flip_p(np.array([1.0, np.nan])))


def test_holm_by_hand():
    # Sorted, 0.005, 0.01, 0.03, 0.04 are multiplied by 4, 3, 2, 1. Then each is at least the previous one.
    np.testing.assert_allclose(intervals.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(intervals.holm([0.9, 0.8]), [1, 1])
    np.testing.assert_allclose(intervals.holm([np.nan, 0.01]), [np.nan, 0.02])  # the NaN counts
