"""Judges each sentence on made-up sweeps for which it is true, false, partly true, or undecidable."""

import numpy as np
import pytest

from experiments.grid.networks import SIZES, Network
from experiments.paper import agreement, claims, published, simulated, slopes
from experiments.paper.beyond import STUDIES, shrinking_rate
from experiments.statistics import verdicts
from tests import made_up

SIGN = {"vanilla": 0, "drop": 0, "corr-0.1": 1, "corr-1.0": 2}
SMALLNESS = {size: i for i, size in enumerate(reversed(SIZES))}


def c2(k):
    # Dropout multiplies the correlation by p^2 = 0.49, or increases it.
    return lambda size, variant: {"correlation": 0.2 * (0.49 if k > 0 else 1.2) if variant == "drop" else 0.2}


def c4(k):
    return lambda size, variant: {"correlation": 0.2 - 0.05 * k * SIGN[variant]}


def c5(k):
    return lambda size, variant: {
        "error": 0.1 + 0.05 * SMALLNESS[size] * (1 - 0.5 * k * (variant == "corr-0.1"))
    }


def c6(k):
    return lambda size, variant: {"error": 0.1 + 0.02 * SMALLNESS[size] * (1 + k * (variant == "corr-1.0"))}


def c7(k):
    return lambda size, variant: {"early": 0.3 - 0.05 * k * SIGN[variant]}


def c8(k):
    return lambda size, variant: {"error": 0.1 + 0.05 * k * (variant == "corr-1.0")}


MADE = {"c2": c2, "c4": c4, "c5": c5, "c6": c6, "c7": c7, "c8": c8}


@pytest.mark.parametrize("name", MADE)
def test_a_true_sentence_holds_and_a_false_one_does_not(name):
    verdict = getattr(claims, name)(made_up.sweep(MADE[name](1)))
    assert verdict.verdict == "holds", [(each.what, each.p, each.outcome) for each in verdict.comparisons]
    assert getattr(claims, name)(made_up.sweep(MADE[name](-1))).verdict == "does not hold"


# c4 and c5 only. c2 names a factor, which noise contradicts.
@pytest.mark.parametrize("name", ["c4", "c5"])
def test_noise_alone_and_three_seeds_cannot_tell(name):
    judge = getattr(claims, name)
    assert judge(made_up.sweep(noise=0.05)).verdict == "cannot be told"
    verdict = judge(made_up.sweep(MADE[name](1), seeds=3))
    assert verdict.verdict == "cannot be told"
    assert all(each.interval.estimate > 0 for each in verdict.comparisons)


def test_a_sentence_true_of_one_layer_holds_in_part():
    def change(size, variant):
        return {"correlation": np.array([0.2 - 0.05 * SIGN[variant], 0.2, 0.2])}

    verdict = claims.c4(made_up.sweep(change))
    assert verdict.verdict == "holds in part"
    assert [each.outcome for each in verdict.comparisons] == ["for"] * 2 + ["open"] * 4


def test_lower_but_not_by_the_factor_holds_in_part():
    def change(size, variant):
        return {"correlation": 0.2 * (0.7 if variant == "drop" else 1)}

    verdict = claims.c2(made_up.sweep(change))
    assert verdict.verdict == "holds in part"
    assert "0.70 where it is above 0.5 (seeds: 10)" in verdict.remark


def test_seeds_are_told_apart_by_the_slope():
    slope = np.ones((made_up.SEEDS, 1, 1))
    slope[:3], slope[3] = -1, 0.1

    def change(size, variant):
        return {"slope": slope} if (size, variant) == ("huge", "vanilla") else {}

    sweep = made_up.sweep(change)
    groups = slopes.by_slope(sweep, claims.HUGE_VANILLA)
    assert {which: group.sum() for which, group in groups.items()} == {
        "below -0.5": 3,
        "from -0.5 to 0.5": 1,
        "above 0.5": 6,
    }
    sweep["mean_correlation_minibatch"].loc[{"cell": "huge-drop", "seed": slice(0, 2)}] = 0.3
    remark = claims.c2(sweep).remark
    assert "1.50 where it is below -0.5 (seeds: 3); 1.00 where" in remark
    assert slopes.by_slope(sweep.isel(slope_layer=slice(0, 0)), claims.HUGE_VANILLA) == {}
    assert claims.c2(sweep.isel(slope_layer=slice(0, 0))).remark == ""
    assert slopes.by_slope(made_up.sweep(sizes=("tiny",)), claims.HUGE_VANILLA) == {}
    sweep["mean_correlation_minibatch"].loc[{"cell": "huge-drop", "seed": 9}] = np.nan  # as if diverged
    for name in ("huge-vanilla", "huge-drop"):  # all units are dead
        sweep["mean_correlation_minibatch"].loc[{"cell": name, "seed": 5}] = 0
    assert "1.00 where it is above 0.5 (seeds: 4)" in claims.c2(sweep).remark


def test_a_value_is_met_only_if_the_whole_interval_is_near_it():
    random = np.random.default_rng(0)
    outcomes = [
        verdicts.equal("x", spread * random.standard_normal(20) + mean, 0, 0.1, verdicts.Quantity()).outcome
        for mean, spread in ((0, 0.01), (0, 1), (0.5, 0.01))
    ]
    assert outcomes == ["for", "open", "against"]
    assert verdicts.always("x", np.array([-1, 1]), 0, tolerance=0.1).outcome == "against"


def test_the_law_of_the_estimator_holds_and_pearsons_does_not():
    verdict = simulated.c1()
    assert verdict.verdict == "holds in part"
    estimator, pearson = verdict.comparisons[2:]  # for p = 0.7
    assert estimator.interval.estimate == pytest.approx(0.49, abs=0.01)
    assert pearson.interval.estimate == pytest.approx(0.7, abs=0.01)


def test_the_gradient_formula_holds_and_a_wrong_one_would_not(monkeypatch):
    assert simulated.c3().verdict == "holds"
    right = simulated._penalty
    monkeypatch.setattr(simulated, "_penalty", lambda a: 1.000001 * right(a))
    assert simulated.c3().verdict == "holds in part"  # the i = l term is still zero


def test_missing_cells_leave_comparisons_open():
    verdicts = claims.judge(made_up.sweep(sizes=("tiny",)))
    assert [each.claim for each in verdicts] == [f"C{i}" for i in range(1, 9)]
    assert {each.verdict for each in verdicts if each.claim in ("C2", "C4", "C5", "C6")} == {"cannot be told"}


def test_networks_that_diverged_count_with_the_error_of_guessing():
    sweep = made_up.sweep(c8(1))
    at = {"cell": "tiny-corr-1.0", "seed": 4}
    sweep["diverged_epoch"].loc[at] = 3
    sweep["validation_error"].loc[at] = 0.9
    verdict = claims.c8(sweep)
    tiny = verdict.comparison(Network.parse("tiny-corr-1.0"))
    assert tiny.finite.size == made_up.SEEDS and tiny.values.max() == pytest.approx(0.8, abs=0.01)
    assert "guessing: 1 of 10 tiny-corr-1.0." in verdict.remark
    assert "guessing" not in claims.c5(sweep).remark  # c5 does not use this variant
    assert "guessing" not in claims.c7(sweep).remark  # c7 uses the second epoch, before the divergence


def test_published_numbers_inside_and_outside():
    def change(size, variant):
        wide = {
            "noise": 0.001,
            "early": published.FIGURE_4_BY_NETWORK.get(Network.parse(f"{size}-{variant}"), 0.2),
        }
        return wide | ({"early": 0.5} if (size, variant) == ("tiny", "vanilla") else {})

    compared = [each for each in agreement.compare(made_up.sweep(change)) if each.figure == "figure 4"]
    assert len(compared) == 15
    assert [each.what for each in compared if not each.inside] == ["tiny-vanilla"]


def test_a_bar_that_is_not_seen_may_be_anything_small():
    judged = agreement._judged("figure 2", "bar", 0.0, np.array([0.003, 0.004, 0.0045]))
    assert judged.inside
    assert not agreement._judged("figure 2", "bar", 0.0, np.array([0.1, 0.101, 0.102])).inside
    assert agreement._judged("figure 3", "bar", 0.0, np.array([-0.1, -0.101, -0.102])).inside


def test_bins_are_merged():
    sweep = made_up.sweep(sizes=("huge",))
    merged = agreement.rebinned(sweep.histogram_minibatch.sel(cell="huge-drop", layer=1), 0.1)
    assert merged.shape == (made_up.SEEDS, 10)
    np.testing.assert_allclose(merged, 0.1)


def test_every_published_histogram_is_one():
    found = [
        *published.FIGURE_1.values(),
        *(each for layers in published.FIGURE_2.values() for each in layers),
    ]
    assert len(found) == 11
    for histogram in found:
        assert 0.98 < sum(histogram.fractions) < 1.02
        assert len(histogram.fractions) * histogram.bin_width <= 1 + 1e-9


def test_three_seeds_of_a_lower_mean_do_not_tell_against_it():
    assert claims.c2(
        made_up.sweep(lambda s, v: {"correlation": 0.14 if v == "drop" else 0.2}, seeds=3)
    ).verdict == ("cannot be told")


def test_one_seed_says_nothing_of_the_published_numbers():
    assert agreement.compare(made_up.sweep(seeds=1)) == []


def decayed(early, last):
    """Returns a sweep. Networks with a penalty are better by `early` at first, worse by `last` at the end."""
    return made_up.sweep(
        lambda size, variant: {
            "early": 0.2 - early * (variant != "vanilla"),
            "error": 0.1 + last * (variant != "vanilla"),
        },
        variants=("vanilla", "corr-0.1", "corr-1.0", "corr-1.0-cosine"),
        noise=1e-4,
    )


@pytest.mark.parametrize(
    ("early", "last", "verdict"),
    [
        (0.05, 0.0, "holds"),
        (0.05, 0.0005, "holds"),  # within the margin
        (0.05, 0.002, "holds in part"),
        (-0.05, 0.002, "does not hold"),
    ],
)
def test_an_advantage_that_is_kept_and_not_paid_for(early, last, verdict):
    judged = shrinking_rate.c9(decayed(early, last))
    assert judged.verdict == verdict and len(judged.comparisons) == 2 * 5 * 2


def beyond(main, others):
    """Returns the verdicts of all studies."""
    return [verdict for study in STUDIES for verdict in study.verdicts(others, main)]


def test_what_is_beyond_the_paper_is_judged_where_it_was_trained():
    main = made_up.sweep(lambda size, variant: {"error": 0.12 if variant == "corr-1.0" else 0.1}, noise=0)
    others = {
        "mnist-forty": made_up.sweep(c5(1), variants=("vanilla", "corr-0.1"), seeds=40),
        "mnist-decay": decayed(0.05, 0.0),
        "mnist-cosine": made_up.sweep(lambda *_: {"error": 0.11}, variants=("corr-1.0-cosine",)),
        "fashion_mnist-conv": made_up.sweep(
            lambda size, variant: {"correlation": {"vanilla": 0.3, "corr-0.1": 0.2}.get(variant, 0.1)},
            sizes=("tiny", "small"),
            variants=("vanilla", "corr-0.1", "corr-1.0"),
            noise=1e-4,
            family="conv",
        ),
        "digits": made_up.sweep(),
    }
    judged = {verdict.claim: verdict for verdict in beyond(main, others)}
    assert list(judged) == [
        *("C5-forty", "C9", "C6-decay", "C8-decay", "C8-cosine", "C12", "C7-conv", "C8-conv")
    ]
    assert judged["C5-forty"].verdict == "holds" and judged["C5-forty"].comparisons[0].finite.size == 40
    assert judged["C5-forty"].remark.endswith(
        " With only the 30 seeds that the main sweep lacks: holds (4, 0, 0)."
    )
    cosine = judged["C8-cosine"]
    assert [round(each.interval.estimate, 3) for each in cosine.comparisons] == [0.01] * 5
    assert (
        "0.0200 (huge, 0.0200 at most), " in cosine.remark
        and cosine.comparisons[0].what == "huge: corr-1.0-cosine - vanilla"
    )
    assert judged["C12"].verdict == "holds" and len(judged["C12"].comparisons) == 6
    assert judged["C12"].comparisons[0].what == "layer 1, small: vanilla - corr-0.1"
    assert (len(judged["C7-conv"].comparisons), len(judged["C8-conv"].comparisons)) == (4, 2)
    assert all(each.finite.size for verdict in judged.values() for each in verdict.comparisons)


def test_what_is_still_in_training_is_not_judged():
    others = {"mnist-decay": decayed(0.05, 0.0).isel(cell=slice(-1))}
    assert beyond(made_up.sweep(), others) == beyond(made_up.sweep(), {}) == []


def test_how_large_an_effect_may_still_be():
    values = np.random.default_rng(0).standard_normal(20) + 0.1
    (open_,) = verdicts.above_zero({"x": values})
    assert open_.outcome == "open"
    assert open_.bound == max(-open_.interval.low, open_.interval.high) > abs(open_.interval.estimate)
    (not_worse,) = verdicts.above_zero({"x": values}, {"x": 10.0})
    assert not_worse.outcome == "for" and not_worse.expected == -10
    assert not_worse.bound == open_.bound  # the margin does not change the bound
