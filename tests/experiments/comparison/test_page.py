import dataclasses
import re

import numpy as np
import pytest

from experiments.comparison import described, ladder, page, planned, results
from experiments.comparison.recipes import WITHOUT_LABELS
from experiments.comparison.settings import Budget, Setting
from experiments.disk.errors import ResultsError

EIGHT = Budget(report_seeds=8)
SETS = (("digits", 0.1, 1000), ("letter", 0.2, 1000), ("german", 0.3, 800), ("splice", 0.4, 1000))
"""Name, error and rows of each data set. german has fewer than 1,000 rows."""
FACTORS = {"corr": 0.9, "dropout": 0.8, "corr-dropout": 0.7, "decov": 1.1}


def networks(methods, level, seeds=8, **more):
    rng = np.random.default_rng(round(100 * level))

    def error(method):
        return level * FACTORS.get(method, 1.0) * rng.uniform(0.97, 1.03)

    return [
        {
            "method": method,
            "stage": "report",
            "point": 0,
            "seed": seed,
            "failed": float(method == "decov" and seed == 0),
            "test_error": error(method),
            "test_nll": 0.5,
            "scaled_nll": 0.25,
            "noise_error": error(method),
            "pruned_error": error(method),
            "all_labels_error": 0.01,
            "effective_units": 3.0,
            "embedded_effective_units": 2.0,
            "seconds": 1.0,
            **{f"layer_{layer}_{shots}_error": error(method) for layer in (1, 2, 3) for shots in (5, 50)},
            **more,
        }
        for method in methods
        for seed in range(seeds)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results on four data sets and on their features, two ladder rungs, and one set without labels."""
    made = tmp_path_factory.mktemp("methods")
    for name, level, rows in SETS:
        more = {"blur_error": 0.5} if name == "digits" else {}
        searched = [
            {"method": method, "stage": "search", "point": point, "seed": 0, "tuning_error": level}
            for method in planned.JUDGED
            for point in range(4)
        ]
        reported = networks(planned.JUDGED, level, **more)
        results.write(made, Setting(name, "0", rows, budget=EIGHT), reported + searched)
        features = networks(planned.FEW, level)
        results.write(made, Setting(name, "0", rows, budget=EIGHT, title="features"), features)
    rungs = planned.rungs()
    for name in planned.LADDER_SETS:
        methods = planned.LADDER_METHODS + planned.SLOPES
        setting = Setting(name, "0", 2000, rungs["released"], EIGHT, title="released")
        results.write(made, setting, networks(methods, 0.1))
        setting = Setting(name, "0", 2000, rungs["decay"], EIGHT, title="decay")
        results.write(made, setting, networks(planned.LADDER_METHODS, 0.05))
    for name in ("letter", "splice"):
        results.write(made, Setting(name, "0", 5000, budget=EIGHT), networks(planned.FEW, 0.1))
    few = Budget(points=8, finalists=2, more_seeds=2, report_seeds=5)  # too few seeds decide nothing else
    results.write(made, Setting("mnist", "0", 60_000, budget=few), networks(planned.FEW, 0.1, seeds=5))
    setting = Setting("mnist", "0", 2000, planned.alone()["he-alone"], EIGHT, title="he-alone")
    results.write(made, setting, networks(("vanilla", "corr"), 0.2))
    setting = Setting("digits", "0", 1437, budget=EIGHT, title="views")
    results.write(made, setting, networks(WITHOUT_LABELS, 0.2))
    at_rates = [
        {"method": method, "stage": "search", "point": point, "seed": seed}
        | {"failed": float(point >= first), "tuning_error": 0.9 if point >= first else 0.25}
        | {"train_nll": float("nan") if point == 12 and method == "vanilla" else 2.0}
        for method, first in (("vanilla", 12), ("corr-tenth", 14))
        for point in range(16)
        for seed in range(2)
    ]
    setting = Setting("mnist", "0", 2000, rungs["released"], EIGHT, title="rates")
    results.write(made, setting, networks(planned.RATES_METHODS, 0.1) + at_rates)
    return made


@pytest.fixture(scope="module")
def written(folder):
    return page.write(folder).read_text()


def cells(part):
    """Returns the texts of a page's table cells, row by row."""
    rows = re.findall("<tr>(<td.*?)</tr>", part)
    return [[re.sub("<[^>]+>", "", cell) for cell in re.findall("<td.*?</td>", row)] for row in rows]


def test_the_answer_comes_first(written):
    answers = {kind: row for kind, *row in cells(written[: written.index("<figure>")])}
    assert list(answers) == [
        *("all data sets", "small images", "tables", described.DAMAGED, "5,000 rows", "60,000 rows"),
        *(f"features for new classes, {shots} rows of each" for shots in (5, 50)),
    ]
    assert answers["all data sets"][0] == "4" and answers["all data sets"][-1] == (
        "corr against vanilla: less error (H1); corr-dropout against dropout: less error (H2)"
    )
    assert answers["small images"][-1] == (
        "corr against dropout: too few data sets; corr-dropout against dropout: too few data sets"
    )
    assert (
        answers["tables"][-1] == "corr against dropout: do not use it; corr-dropout against dropout: use it"
    )
    dropout, corr, both, on_top = (float(cell.split("%")[0]) for cell in answers["all data sets"][1:5])
    assert (dropout, corr, both, on_top) == pytest.approx((-20, -10, -30, -12.5), abs=2)  # FACTORS
    # With two data sets, there is a mean, but no interval.
    assert re.fullmatch(r"-[0-9.]+%", answers["5,000 rows"][1]) and "[" in answers["tables"][1]


def test_every_method_is_advised(written):
    part = written[written.index('id="advice"') : written.index('id="methods"')]
    advised = {method: advice for method, *advice in cells(part)}
    assert advised["corr-dropout"][1] == "too few data sets" and advised["corr-dropout"][3] == "use it"
    assert advised["decov"][3] == "do not use it" and "dropout" not in advised
    assert "tables: against dropout" in written


def test_the_page_has_every_part(written):
    for part in (
        *("ladder", "without-labels", "hypotheses", "methods"),
        *("advice", "measures", "elsewhere", "transfer", "edges", "settings"),
    ):
        assert f'id="{part}"' in written
    assert "corr errs less than vanilla" in written and "copied slopes bring half" in written
    (alone,) = re.findall(r"<td>He&#39;s start</td>.*", written)
    assert alone.count("0 and 0") == 1 and ">20." in alone  # Fashion-MNIST is missing
    (w,) = (row for row in cells(written) if row[0] == "W")
    assert w[1] == "digits-1437"
    (of_fixed,) = (row for row in cells(written) if row[0] == "S2")
    assert of_fixed[2].startswith(("+", "-")) and of_fixed[3] == "" and len(of_fixed) == 8  # none failed
    assert "align-corr-floor" in written and "1 of 8" in written  # one network with decov failed
    assert (
        '<td class="n">25.00</td>' in written
    )  # the tuning error of the best of a few points, all four sets
    assert written.count("<svg") == 3 and '<td class="n">' in written and "&#34;n&#34;" not in written


def test_measures_beside_the_error_are_compared(written):
    part = written[written.index('id="measures"') : written.index('id="elsewhere"')]
    headers = [re.findall("<th[^>]*>(.*?)</th>", row) for row in re.findall("<tr>(<th.*?)</tr>", part)]
    # Only the digits have a blur_error.
    assert headers == [["method", "nll", "after scaling"], ["method", "80% of weights pruned", "noise"]]
    rows = cells(part)
    assert ["corr", *["+0.0% [+0.0, +0.0]"] * 2] in rows  # networks() sets the same nll for all methods
    damage = rows[-1][0], [row for row in rows if row[0] == "corr"][1]
    assert damage[0] == "corr-dropout against dropout"
    assert all(-12 < float(cell.split("%")[0]) < -8 for cell in damage[1][1:])  # FACTORS
    assert "nan" not in part


def test_failures_are_counted_at_equal_learning_rates(folder, written):
    settings = results.stored(folder)
    rows = ladder.rate_table(settings).rows
    assert [float(row[0]) for row in rows] == sorted(float(row[0]) for row in rows) and len(rows) == 16
    told = [row[1:] for row in rows]
    assert told.count(["0 and 0 of 2", "25.0 and 25.0"]) == 12
    assert told.count(["2 and 0 of 2", ""]) == told.count(["2 and 2 of 2", ""]) == 2
    assert ladder.only_one_failed(settings) == (4, 0, pytest.approx(2 * 0.5**4))
    assert ladder.only_one_failed(settings, diverged=True) == (2, 0, pytest.approx(2 * 0.5**2))
    assert "at equal learning rates" in written and "mnist-2000-rates" not in written


def test_few_seeds_recommend_nothing(tmp_path):
    setting = Setting("digits", "0", 1000, budget=dataclasses.replace(Budget(), report_seeds=2))
    results.write(tmp_path, setting, networks(("vanilla", "corr"), 0.1, seeds=2))
    text = page.write(tmp_path).read_text()
    assert "2 seeds cannot decide anything" in text and "use it" not in text


def test_networks_without_labels_need_no_seeds_to_decide(tmp_path):
    setting = Setting("digits", "0", 1437, budget=EIGHT, title="views")
    results.write(tmp_path, setting, networks(WITHOUT_LABELS, 0.2))
    text = page.write(tmp_path).read_text()
    assert "<td>W</td>" in text and "cannot decide" not in text


@pytest.mark.slow
def test_some_of_the_planned_sets_judge_nothing(tmp_path):
    for place, name in enumerate(planned.SETS[:3]):
        results.write(tmp_path, Setting(name, "0", 1000), networks(planned.JUDGED, 0.1 + 0.1 * place, 16))
    assert "3 of the plan&#39;s 17 data sets are done" in (text := page.write(tmp_path).read_text())
    assert 'id="hypotheses"' not in text and "use it" not in text
    assert (tmp_path / "answers.md").read_text() == ""


@pytest.mark.parametrize("rows", [1000, 2000, 5000])
@pytest.mark.parametrize("title", ["", "conv"])
def test_data_sets_of_ones_own_are_judged_without_the_plans(tmp_path, rows, title):
    for place, name in enumerate(("mine", "yours", "theirs")):
        own = Setting(name, "0", rows, title=title)  # the budget is the plan's
        results.write(tmp_path, own, networks(("vanilla", "corr"), 0.1 + 0.1 * place, 16))
    text = page.write(tmp_path).read_text()
    assert "Nothing is judged" not in text and text.count("<svg") == 1
    answers = cells(text[: text.index("<figure>")])
    # There is no column for methods that are not there, and no row for a kind that is already told.
    if title == "":
        assert [row[0] for row in answers] == ["all data sets", "tables", described.DAMAGED]
        assert [row[-1] for row in answers] == [
            *("corr against vanilla: less error (H1)", "corr against vanilla: use it", "no planned test")
        ]
    elif rows == 1000:
        assert [row[0] for row in answers] == ["convolutional networks"]
    assert all(len(row) == 4 and row[1] == "3" and row[2].startswith("-") for row in answers)


def test_one_or_two_sets_are_told_without_a_judgement(tmp_path):
    for name in ("mine", "yours"):
        results.write(tmp_path, Setting(name, "0", 1000, budget=EIGHT), networks(("vanilla", "corr"), 0.1))
    text = page.write(tmp_path).read_text()
    assert cells(text)[0][-1] == "corr against vanilla: too few data sets (H1)"
    assert 'id="hypotheses"' not in text and "nan" not in text.replace("<td>nan", "")


def test_a_rung_whose_networks_all_fail_has_no_gain_without_failures():
    failed = [
        row | {"failed": 1.0} if row["method"] == "vanilla" else row
        for row in networks(("vanilla", "corr"), 0.1)
    ]
    assert "none" in ladder.table({("mnist", "released"): failed}, "mnist").rows[0]


def test_methods_that_are_not_whole_are_left_out(tmp_path):
    plain = planned.rungs()["released"]
    rows = networks(("vanilla", "corr", "dropout"), 0.1)
    results.write(tmp_path, Setting("mnist", "0", 2000, plain, EIGHT, title="released"), rows[:-1])
    text = page.write(tmp_path).read_text()
    assert "<td>corr</td>" in text and "<td>dropout</td>" not in text and 'id="ladder"' in text
    assert "Fashion-MNIST" not in text  # its rungs are missing


def test_a_set_that_is_not_whole_or_too_easy_has_no_rank(tmp_path):
    results.write(tmp_path, Setting("digits", "0", 1000, budget=EIGHT), networks(("vanilla", "corr"), 0.1))
    results.write(tmp_path, Setting("letter", "0", 1000, budget=EIGHT), networks(("dropout",), 0.1))
    easy = [row | {"test_error": 0.0} for row in networks(("vanilla", "corr"), 0.1)]
    results.write(tmp_path, Setting("splice", "0", 1000, budget=EIGHT), easy)
    text = page.write(tmp_path).read_text()
    ranked = text[text.index('id="methods"') : text.index('id="settings"')]
    assert "<td>corr</td>" in ranked and "<td>dropout</td>" not in ranked
    assert "nan" not in ranked.replace("<td>nan", "") and "Friedman" not in ranked  # only two methods


@pytest.mark.parametrize("name", planned.LADDER_SETS)
def test_the_ladder_of_one_set_is_drawn(name):
    figure = ladder.figure({(name, "released"): networks(("vanilla", "corr"), 0.1)})
    (axes,) = figure.axes
    assert axes.get_title() == f"{ladder.SHOWN_AS[name]}, 2,000 images" and figure.legends


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(ResultsError, match="holds no reported networks"):
        page.write(tmp_path)
