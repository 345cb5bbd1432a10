import numpy as np
import pytest

from decorr.config import Architecture
from experiments.comparison import ladder, planned, results
from experiments.comparison.recipes import METHODS, RANGES, Recipe, search
from experiments.comparison.settings import Budget, Setting, Work
from experiments.disk.errors import ResultsError
from experiments.statistics.intervals import Interval

SETTING = Setting("digits", "1998 sha256:0", 1000, budget=Budget(4, 1, 2, 2, 3))


def row(point, seed, error, stage="search", failed=0.0):
    return {
        "method": "corr",
        "stage": stage,
        "point": point,
        "seed": seed,
        "tuning_error": error,
        "failed": failed,
    }


def test_stages_share_no_seed_and_add_up():
    budget = SETTING.budget
    seeds = [set(budget.stage_seeds(stage)) for stage in ("search", "selection", "report")]
    assert sum(map(len, seeds)) == len(set.union(*seeds)) == 1 + 2 + 3
    assert Work(SETTING, "corr").runs == 4 + 2 * 2 + 3
    assert Work(SETTING, "vanilla-copied", 0, 0).runs == 3


def test_every_method_is_tried_with_the_same_points():
    tried = {name: search(method, Recipe(), 32) for name, method in METHODS.items() if not method.numbers_of}
    rates = {name: [numbers.learning_rate for numbers in points] for name, points in tried.items()}
    assert all(other == rates["vanilla"] for other in rates.values())
    low, high = RANGES["momentum"]["learning_rate"]
    assert low < min(rates["vanilla"]) < 2 * low and high / 2 < max(rates["vanilla"]) < high
    for numbers in tried["corr-dropout"]:
        assert 1e-3 <= numbers.penalty_share <= 1 and 0.05 <= numbers.dropout_rate <= 0.6
    assert len(set(tried["corr-dropout"])) == 32 and tried["vanilla"][0].penalty_share is None


def test_a_rung_without_tuned_decay_has_the_released_one():
    rungs = planned.rungs()
    assert {numbers.weight_decay for numbers in search(METHODS["corr"], rungs["he"], 4)} == {1e-4}
    assert len({numbers.weight_decay for numbers in search(METHODS["corr"], rungs["decay"], 4)}) == 4


def test_the_last_rung_but_one_is_the_plain_recipe():
    rungs = planned.rungs()
    assert rungs["decay"] == planned.PLAIN
    assert rungs["released"].architecture == Architecture((128, 128, 128), input_dropout=False)


def test_finalists_have_the_least_errors_and_ties_go_to_the_first_point():
    rows = [row(0, 0, 0.3), row(1, 0, 0.1), row(2, 0, 0.2), row(3, 0, 0.1)]
    assert results.finalists(rows, 3) == [1, 3, 2]


def test_the_chosen_point_has_the_least_mean_and_standard_error_and_does_not_fail():
    search_rows = [row(0, 0, 0.1), row(1, 0, 0.11), row(2, 0, 0.5)]
    steady = [row(1, seed, error, "selection") for seed, error in ((1, 0.11), (2, 0.11))]
    wild = [row(0, seed, error, "selection") for seed, error in ((1, 0.02), (2, 0.2))]
    assert results.chosen(search_rows + steady + wild, 2) == 1
    better = [row(0, seed, 0.05, "selection") for seed in (1, 2)]
    assert results.chosen(search_rows + steady + better, 2) == 0
    failing = [row(0, seed, 0.05, "selection", failed=1.0) for seed in (1, 2)]
    assert results.chosen(search_rows + steady + failing, 2) == 1


def test_what_is_read_from_disk_chooses_as_before(tmp_path):
    rng = np.random.default_rng(0)
    errors = rng.permuted(np.tile(rng.integers(20, 40, 6) / 190, (60, 1)), axis=1)  # equal except for order
    rows = [
        row(point, seed, error, "selection")
        for point in range(60)
        for seed, error in enumerate(errors[point])
    ]
    rows += [row(point, 60, 0.1) for point in range(60)]
    results.write(tmp_path, SETTING, rows)
    assert results.chosen(results.load(tmp_path, SETTING), 60) == results.chosen(rows, 60) == 0


def test_networks_come_back_from_disk(tmp_path):
    rows = [row(0, 0, 0.25), row(1, 0, 0.5, "report") | {"test_error": 0.125}]
    results.write(tmp_path, SETTING, rows)
    found = results.load(tmp_path, SETTING)
    assert np.isnan(found[0].pop("test_error")) and found[0] == rows[0] and found[1] == rows[1]
    assert results.load(tmp_path, Setting("digits", "1998 sha256:0", 500)) == []


def test_networks_of_another_setting_or_plan_are_refused(tmp_path, monkeypatch):
    results.write(tmp_path, SETTING, [row(0, 0, 0.25)])
    with pytest.raises(ResultsError, match="another setting"):
        results.load(tmp_path, Setting("digits", "1998 sha256:1", 1000, budget=SETTING.budget))
    monkeypatch.setattr(results, "plan", lambda: "another")
    with pytest.raises(ResultsError, match=r"another PLAN\.md"):
        results.load(tmp_path, SETTING)


def test_what_is_changed_later_does_not_change_the_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    written = []
    for text in ("plan\n\n## Changes\n", "plan\n\n## Changes\nmuch later\n", "plans\n\n## Changes\n"):
        (tmp_path / "PLAN.md").write_text(text)
        written.append(results.plan())
    assert written[0] == written[1] != written[2]


@pytest.mark.parametrize(
    ("low", "high", "outcome"), [(0.1, 0.4, "holds"), (0.6, 0.9, "fails"), (0.4, 0.6, "open")]
)
def test_a_statement_holds_if_its_interval_lies_on_its_side(low, high, outcome):
    assert ladder.judge(Interval((low + high) / 2, low, high), 0, 0.5) == outcome


def test_a_gain_is_paired_by_seed():
    def network(method, seed, error, failed=False):
        named = {"method": method, "stage": "report", "seed": seed}
        return named | {"test_error": error, "failed": float(failed)}

    errors = [(0.10, 0.09), (0.30, 0.29), (0.20, 0.19)]
    rows = [network("vanilla", seed, plain) for seed, (plain, _) in enumerate(errors)]
    rows += [network("corr", seed, error) for seed, (_, error) in reversed([*enumerate(errors)])]
    assert np.allclose(ladder.gain(rows, "vanilla", "corr"), 1.0)
    assert ladder.contrast(rows, {"vanilla": 0.5, "corr": -1}).estimate == pytest.approx(-9.0)
    rows += [network("vanilla", 3, 0.9, failed=True), network("corr", 3, 0.2)]
    assert ladder.gain(rows, "vanilla", "corr").estimate == pytest.approx((3 * 1 + 70) / 4)
    assert np.allclose(ladder.gain(rows, "vanilla", "corr", failed=False), 1.0)
