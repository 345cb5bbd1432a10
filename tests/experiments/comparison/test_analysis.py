import numpy as np
import pytest

from experiments.comparison import analysis, described
from experiments.comparison.planned import JUDGED, SETS
from experiments.comparison.results import Stored

FACTORS = {"corr": 1.0, "corr-dropout": 0.8, "dropout": 0.9, "decov": 1.2}
"""The error of each method, divided by vanilla's."""


@pytest.fixture(scope="module")
def networks():
    rng = np.random.default_rng(1)
    made = {}
    for place, name in enumerate(SETS):
        level = 0.05 + 0.02 * place
        made[name] = [
            {
                "method": method,
                "stage": "report",
                "seed": seed,
                "failed": 0.0,
                "test_error": level * FACTORS.get(method, 1.0) * rng.uniform(0.95, 1.05),
                "noise_error": level * (2 if method == "corr-dropout" else 1) * rng.uniform(0.95, 1.05),
                "pruned_error": level * rng.uniform(0.95, 1.05),
                **({"blur_error": level} if place < 3 else {}),
            }
            for method in JUDGED
            for seed in range(6)
        ]
    return made


def test_hypotheses_are_judged_by_their_effects(networks):
    judged = {each.hypothesis.name: each for each in analysis.judge(networks)}
    outcomes = {name: each.outcome for name, each in judged.items()}
    assert outcomes == {"H1": "open", "H2": "holds", "H3": "holds", "H4": "holds", "H5": "fails"}
    assert judged["H2"].effect.interval.estimate == pytest.approx(np.log(0.8 / 0.9), abs=0.02)
    assert judged["H1"].equivalent < 0.05 < judged["H2"].equivalent
    assert judged["H2"].better.low > 0.9 and judged["H1"].better.low < 0.5 < judged["H1"].better.high
    assert judged["H5"].effect.interval.estimate == pytest.approx(np.log(1.5), abs=0.02)


def test_no_set_decides_nothing():
    assert all(each.outcome == "open" for each in analysis.judge({}))


def test_methods_stand_by_their_mean_rank(networks):
    standings, ranks = described.standings(networks)
    names = [each.method for each in standings]
    assert names[:2] == ["corr-dropout", "dropout"] and names[-1] == "decov"
    assert standings[0].rank == 1 and standings[0].interquartile.high == pytest.approx(0.8, abs=0.03)
    assert ranks.p < 1e-6 and all(each.networks == 6 * len(SETS) for each in standings)


def test_images_and_tables_are_all(networks):
    images, tables = analysis.kind(networks, True), analysis.kind(networks, False)
    assert set(images) == {"mnist", "fashion_mnist", "digits"}
    assert set(images) | set(tables) == set(SETS) and not set(images) & set(tables)


def stored(name, reported, searched=(), **setting):
    plain, budget = {"optimiser": "momentum", "weight_decay": None}, {"points": 4}
    setting = {"pool": name, "title": "", "rows": 1000, "plain": plain, "budget": budget} | setting
    return Stored(name, setting, list(reported), list(searched))


def test_c10_is_judged_by_h3_once_all_sets_are_there(networks):
    settings = [stored(name, networks[name]) for name in SETS]
    assert analysis.c10(settings[:-1]) == ()
    (c10,) = analysis.c10(settings)
    (comparison,) = c10.comparisons
    assert c10.verdict == "holds" and comparison.finite.size == len(SETS)
    assert comparison.interval.estimate == pytest.approx(np.log(1.2), abs=0.02)
    assert comparison.interval.low < comparison.interval.estimate < comparison.interval.high


def test_chosen_numbers_at_an_end_of_their_range_are_counted():
    def chosen(point):
        network = {"method": "dropout", "point": point, "failed": float(point == 0)}
        return stored("digits", [network], [network])

    (edge,) = described.edges([chosen(point) for point in range(4)])
    assert (edge.method, edge.settings) == ("dropout", 4)
    assert (edge.failed, edge.trials) == (1, 4)
    assert [*edge.at.items()] == [("learning_rate", 0), ("weight_decay", 2), ("dropout_rate", 0)]
    wide, narrow = (
        described.Edge("dropout", 3, {"learning_rate": count}, 0, 32).too_narrow for count in (1, 2)
    )
    assert not wide and narrow


def test_more_tried_points_are_expected_to_be_better():
    searched = [{"method": "corr", "tuning_error": error} for error in (0.1, 0.2, 0.3, 0.4)]
    found = [described.best_of(stored("digits", [], searched), "corr", tried) for tried in (1, 4, 400)]
    assert found[0] == pytest.approx(0.25) and found[0] > found[1] > found[2] == pytest.approx(0.1)


def test_every_kind_of_reader_is_told_what_concerns_it(networks):
    few = {name: networks[name] for name in SETS[:4]}
    settings = [stored(name, rows) for name, rows in few.items()]
    settings += [stored(name, rows, title="adamw") for name, rows in list(few.items())[1:]]
    found = {kind: list(of_kind) for kind, of_kind, _ in described.readers(settings)}
    assert found == {
        "all data sets": list(SETS[:4]),
        "small images": list(SETS[:3]),
        "tables": [SETS[3]],
        described.DAMAGED: list(SETS[:4]),
        "AdamW": list(SETS[1:4]),
    }


@pytest.mark.parametrize("sets", [1, 2])
def test_too_few_sets_decide_nothing(networks, sets):
    few = {name: networks[name] for name in SETS[3 : 3 + sets]}
    assert all(each.outcome == "open" for each in analysis.judge(few))
    assert all(each.says == "too few data sets" for each in analysis.advice(few))


def test_a_measure_needs_a_finite_value_of_every_network(networks):
    few = {name: networks[name] for name in SETS[:4]}
    assert list(described.measured(few, "blur_error")) == list(SETS[:3])  # the fourth is a table
    few[SETS[0]] = [few[SETS[0]][0] | {"blur_error": float("nan")}, *few[SETS[0]][1:]]
    assert list(described.measured(few, "blur_error")) == list(SETS[1:3])


def test_a_data_set_stands_for_itself_with_its_largest_sample():
    rows = [{"method": "vanilla"}]
    settings = [stored("digits", rows, rows=count) for count in (1000, 500, 5000)]
    assert analysis.by_set(settings)["digits"].setting["rows"] == 1000
    assert analysis.by_set(settings[1:])["digits"].setting["rows"] == 500
    assert not analysis.by_set(settings[2:])  # another kind of the plan
    own = [stored("mine", rows, rows=count) for count in (5000, 2000)] + [stored("yours", rows, rows=1500)]
    found = analysis.by_set([*settings, *own])
    assert {name: each.setting["rows"] for name, each in found.items()} == {
        "digits": 1000,
        "mine": 2000,
        "yours": 1500,
    }
    assert not analysis.by_set(settings[:2], rows=5000)
    assert not analysis.by_set(settings[1:], rows=1000, title="adamw")


def test_data_sets_may_differ_in_seeds(networks):
    first, second = SETS[:2]
    fewer = [row for row in networks[second] if row["seed"] < 4]
    unequal = {first: networks[first], second: fewer}
    assert analysis.errors(unequal, "corr").shape == (2, 4)
    equal = {name: [row for row in networks[name] if row["seed"] < 4] for name in unequal}
    np.testing.assert_array_equal(analysis.errors(unequal, "corr"), analysis.errors(equal, "corr"))
    assert analysis.errors({}, "corr").shape == (0, 0)


@pytest.mark.parametrize("method", ["corr", "vanilla"])
def test_a_data_set_without_errors_has_no_ratio(networks, method):
    few = {name: networks[name] for name in SETS[:3]}
    easy = [row | ({"test_error": 0.0} if row["method"] == method else {}) for row in few[SETS[0]]]
    found = analysis.effect(few | {SETS[0]: easy}, "corr", "vanilla")
    np.testing.assert_array_equal(found.sets, analysis.effect(few, "corr", "vanilla").sets[1:])
    assert np.isfinite(found.interval).all()
