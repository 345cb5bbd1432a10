import numpy as np
import pytest
from scipy import stats

from experiments.statistics import over_sets

RNG = np.random.default_rng(0)
A, B = (0.1 + 0.02 * RNG.random((6, 10)) + 0.01 * RNG.random((6, 1)) for _ in range(2))


def test_alike_effects_have_the_interval_of_the_fixed_model():
    """If sets do not scatter, tau is 0, and the mean is weighted by inverse variances."""
    a = np.exp(0.01 * RNG.standard_normal((8, 400)))
    effect = over_sets.log_ratio(a * 1.05, np.exp(0.01 * RNG.standard_normal((8, 400))))
    assert effect.between < 5e-4
    assert effect.interval.estimate == pytest.approx(np.log(1.05), abs=1e-3)
    assert effect.interval.estimate == pytest.approx(
        np.average(effect.sets, weights=effect.errors**-2), abs=1e-4
    )


def test_where_sets_differ_far_more_than_seeds_it_is_the_t_test_over_sets():
    shift = np.exp(RNG.standard_normal((9, 1)))
    a = shift * np.exp(1e-4 * RNG.standard_normal((9, 20)))
    effect = over_sets.log_ratio(a, np.exp(1e-4 * RNG.standard_normal((9, 20))))
    test = stats.ttest_1samp(effect.sets, 0)
    assert effect.p == pytest.approx(test.pvalue, rel=1e-5)
    assert tuple(effect.interval)[1:] == pytest.approx(tuple(test.confidence_interval()), rel=1e-5)
    assert effect.between == pytest.approx(effect.sets.std(ddof=1), rel=1e-5)
    mean, low, high = effect.another_set()  # Student's range of one more normal value
    half = stats.t.ppf(0.975, 8) * effect.sets.std(ddof=1) * np.sqrt(1 + 1 / 9)
    assert (low, high) == pytest.approx((mean - half, mean + half), rel=1e-5)


def test_equivalence_is_two_one_sided_t_tests():
    shift = np.exp(0.01 * RNG.standard_normal((9, 1)))
    effect = over_sets.log_ratio(shift * np.exp(1e-6 * RNG.standard_normal((9, 20))), np.ones((9, 20)))
    lower = stats.ttest_1samp(effect.sets, -0.02, alternative="greater").pvalue
    upper = stats.ttest_1samp(effect.sets, 0.02, alternative="less").pvalue
    assert effect.equivalent(0.02) == pytest.approx(max(lower, upper), rel=1e-3)


def test_one_set_says_nothing_of_others():
    effect = over_sets.log_ratio(A[:1], B[:1])
    assert np.isnan([effect.p, effect.equivalent(0.02), *effect.another_set()[1:]]).all()
    assert effect.interval.estimate == pytest.approx(np.log(A[0].mean() / B[0].mean()))


def test_equal_seeds_give_an_exact_effect():
    effect = over_sets.log_ratio(np.full((9, 4), 0.5), np.full((9, 4), 0.25))
    assert tuple(effect.interval) == pytest.approx([np.log(2)] * 3) and effect.p == 0


def test_the_probability_of_improvement_is_that_of_mann_and_whitney():
    a, b = np.round(A, 2), np.round(B, 2)  # with ties
    wanted = [stats.mannwhitneyu(y, x).statistic / 100 for x, y in zip(a, b, strict=True)]
    assert over_sets.better(a, b) == pytest.approx(np.mean(wanted))


def test_the_interquartile_mean_leaves_out_a_quarter_on_both_sides():
    assert over_sets.interquartile_mean(np.array([[0, 1, 2, 3], [4, 5, 6, 100]])) == 3.5


def test_the_bootstrap_draws_sets_and_then_seeds():
    alike = np.repeat([[0.1], [0.9]], 5, axis=1)  # sets differ, but seeds of a set do not

    def mean(errors):
        return errors.mean(axis=(-2, -1))

    assert tuple(over_sets.bootstrap_interval(mean, alike, resamples=50)) == pytest.approx((0.5, 0.1, 0.9))
    one_set = over_sets.bootstrap_interval(over_sets.interquartile_mean, A[:1], resamples=200)
    assert one_set.low < one_set.estimate < one_set.high


def test_ranks_are_friedmans_with_nemenyis_distance():
    errors = RNG.random((5, 14))
    ranks = over_sets.ranks(errors)
    assert ranks.mean == pytest.approx(stats.rankdata(errors, axis=0).mean(axis=1))
    assert ranks.p == pytest.approx(stats.friedmanchisquare(*errors).pvalue)
    assert ranks.distance == pytest.approx(
        2.728 * np.sqrt(5 * 6 / (6 * 14)), abs=1e-3
    )  # q of Demsar's Table 5


def test_ranks_of_methods_that_are_all_alike_or_only_two():
    assert (
        over_sets.ranks(np.zeros((3, 4))).p == 1
        and over_sets.ranks(np.zeros((3, 4))).mean.tolist() == [2] * 3
    )
    assert np.isnan(over_sets.ranks(RNG.random((2, 4))).p)


@pytest.mark.parametrize("tried", [1, 3])
def test_the_expected_best_of_some_trials_is_the_mean_over_all_draws(tried):
    validation, test = RNG.random(4), RNG.random(4)
    draws = np.stack(np.meshgrid(*[range(4)] * tried), axis=-1).reshape(-1, tried)
    best = [test[draw[validation[draw].argmin()]] for draw in draws]
    assert over_sets.expected_best(validation, test, tried) == pytest.approx(np.mean(best))
