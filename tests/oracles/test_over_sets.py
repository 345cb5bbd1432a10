"""Statistics over the comparison's data sets, for committed networks, agree with other people's code."""

import numpy as np
import pytest

from experiments.comparison import analysis, described, results
from experiments.comparison.planned import JUDGED
from experiments.statistics import intervals, over_sets


@pytest.fixture(scope="module")
def networks():
    return analysis.having(analysis.of(results.stored()), *JUDGED)


@pytest.fixture(scope="module")
def pairs(networks):
    """Returns, for each hypothesis, the errors [set, seed] of both methods."""
    return {
        each.name: [analysis.errors(networks, name, each.measures) for name in (each.method, each.against)]
        for each in analysis.HYPOTHESES
    }


@pytest.mark.oracle
def test_effects_are_those_of_statsmodels(pairs):
    meta_analysis = pytest.importorskip("statsmodels.stats.meta_analysis")
    for a, b in pairs.values():
        effect = over_sets.log_ratio(a, b)
        # With a smaller tolerance than rounding, statsmodels would overshoot, and return a variance of 0.
        theirs = meta_analysis.combine_effects(
            effect.sets, effect.errors**2, method_re="iterated", atol=1e-9, maxiter=10_000
        )
        low, high = theirs.conf_int(alpha=0.05, use_t=True)[3]  # random effects, Hartung and Knapp's scale
        mine = (*effect.interval, effect.between**2)
        assert mine == pytest.approx((theirs.mean_effect_re, low, high, theirs.tau2), abs=1e-8)


@pytest.mark.oracle
def test_the_probability_of_improvement_and_the_interquartile_mean_are_those_of_rliable(pairs):
    metrics = pytest.importorskip("rliable.metrics")
    for a, b in pairs.values():
        # In rliable, scores are [seed, set], and higher is better.
        assert over_sets.better(a, b) == pytest.approx(
            metrics.probability_of_improvement(-a.T, -b.T), abs=1e-12
        )
        assert over_sets.interquartile_mean(a) == pytest.approx(metrics.aggregate_iqm(a.T), abs=1e-12)


@pytest.mark.oracle
def test_mean_ranks_are_those_of_bencheval(networks):
    evaluator = pytest.importorskip("bencheval.evaluator").BenchmarkEvaluator(columns_to_agg_extra=None)
    pandas = pytest.importorskip("pandas")
    standings, _ = described.standings(networks)
    means = [
        {
            "method": each.method,
            "task": name,
            "metric_error": np.mean(analysis.errors({name: rows}, each.method)),
        }
        for each in standings
        for name, rows in networks.items()
    ]
    ranked = evaluator.compute_results_per_task(pandas.DataFrame(means)).groupby("method")["rank"].mean()
    assert {each.method: each.rank for each in standings} == pytest.approx(ranked.to_dict(), abs=1e-12)


@pytest.mark.oracle
def test_holms_correction_is_that_of_statsmodels(pairs):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = np.array([over_sets.log_ratio(a, b).p for a, b in pairs.values()])
    assert intervals.holm(p_values) == pytest.approx(multitest.multipletests(p_values, method="holm")[1])
