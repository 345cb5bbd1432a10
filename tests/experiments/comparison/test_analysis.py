"""What a comparison is said to say, of made-up ones."""

import numpy as np
import pytest

from experiments.comparison import analysis, methods, page, results
from experiments.page.drawing import Picture
from tests.experiments.comparison import made_up

HELPS = {"vanilla": 0.10, "dropout": 0.09, "corr": 0.08, "decov": 0.085, "vcreg": 0.12}
BEATEN = {"vanilla": 0.10, "dropout": 0.06, "corr": 0.08}
USELESS = {"vanilla": 0.10, "dropout": 0.09, "corr": 0.10}


def recommended(comparison):
    return analysis.recommendation((results.setting_of(each), analysis.rows(each)) for each in comparison)


def mine(found, method="corr"):
    (row,) = [row for row in analysis.rows(found) if row.method == method]
    return row


def test_a_method_is_compared_to_vanilla_and_to_the_best_other():
    found = made_up.setting(HELPS)
    corr, vcreg, vanilla = (mine(found, name) for name in ("corr", "vcreg", "vanilla"))
    assert corr.helps and corr.worth_it and corr.best_other == "decov"
    assert vcreg.best_other == "corr" and not vcreg.helps
    assert vcreg.to_vanilla.outcome == vcreg.to_best.outcome == "against"
    assert vanilla.to_vanilla is None and vanilla.best_other == "corr"
    np.testing.assert_allclose(corr.to_vanilla.interval.estimate, 0.02, atol=2e-4)
    # 1/512 is the least that ten seeds give; nine differences are the table's.
    np.testing.assert_allclose(corr.to_vanilla.p, 9 / 512)
    beaten = mine(made_up.setting(BEATEN))
    assert beaten.helps and not beaten.worth_it
    assert not mine(made_up.setting(USELESS)).helps


def test_the_best_other_is_chosen_by_the_validation_error():
    found = made_up.setting(HELPS)
    worse = made_up.setting(HELPS | {"decov": 0.11})
    found["tuning_error"] = worse.tuning_error  # now dropout is second there, decov in the test
    assert mine(found).best_other == "dropout" and mine(found, "dropout").best_other == "corr"


def test_another_method_is_one_entry(monkeypatch, tmp_path):
    monkeypatch.setitem(methods.METHODS, "mine", methods.METHODS["dropout"])
    monkeypatch.setattr(page.drawing, "picture", lambda folder, name, title, draw: Picture(name, title))
    made_up.setting(HELPS | {"mine": 0.07}).to_netcdf(tmp_path / "mnist-500.nc", engine="h5netcdf")
    page.write(tmp_path)
    assert (tmp_path / "errors.md").read_text().splitlines()[-1] == "| mine | **7.00** |"
    monkeypatch.delitem(methods.METHODS, "mine")  # results may know methods that are no more
    page.write(tmp_path)
    assert (tmp_path / "errors.md").read_text().splitlines()[-1] == "| mine | **7.00** |"


def test_what_was_chosen_is_said():
    row = mine(made_up.setting(HELPS))
    assert row.step == 4 * 100 // 5 and row.validation_error == pytest.approx(0.08)
    assert set(row.numbers) == {"learning_rate", "penalty_share", "penalty_weight"}
    assert set(mine(made_up.setting(HELPS), "dropout").numbers) == {"learning_rate", "dropout_rate"}
    # P = 5: of 200 units r2 = 9 / 199, less what 50 samples show by chance, and d / (1 + (d - 1) r2)
    r2 = 9 / 199 - (1 - 9 / 199) / 48
    assert row.effective_units[0] == pytest.approx(200 / (1 + 199 * r2))


def test_networks_that_diverged_count_and_are_counted():
    found = made_up.setting(HELPS)
    found.test_error[2, 4], found.test_nll[2, 4] = 0.9, np.nan  # of corr
    row = mine(found)
    assert row.diverged == 1 and row.error.estimate == pytest.approx(0.08 + 0.82 / 10, abs=1e-3)
    assert row.error_without == pytest.approx(0.08, abs=1e-3)
    # Whatever their activations were: of the others each layer is the same.
    found.test_penalty[2, 4] = [99.0, np.nan, np.nan]
    assert mine(found).effective_units == pytest.approx(mine(found, "decov").effective_units)
    assert "| corr | 16.21, 1 diverged |" in page.errors(
        {"": [(results.setting_of(found), analysis.rows(found))]}
    )
    assert row.to_vanilla.outcome == "open" and mine(found, "decov").diverged == 0


@pytest.mark.parametrize(
    ("by_size", "words"),
    [
        ([HELPS, HELPS, USELESS], "use the penalty up to 2,000 training images, else do not"),
        ([HELPS, HELPS, HELPS], "at all sizes that were tried, up to 10,000 images"),
        ([USELESS, USELESS, USELESS], "do not use the penalty to lower the error."),
        ([BEATEN, USELESS, USELESS], "(it beat vanilla on mnist with 500 images, fashion_mnist with 500"),
        (
            [USELESS, HELPS, USELESS],
            "no recommendation can be given; the penalty beat vanilla on mnist with 2,000",
        ),
    ],
)
def test_recommendations(by_size, words):
    settings = [
        made_up.setting(errors, dataset=dataset, images=images)
        for dataset in ("mnist", "fashion_mnist")
        for images, errors in zip((500, 2000, 10000), by_size, strict=True)
    ]
    # Convolutional networks have no say.
    settings.append(made_up.setting(HELPS, dataset="fashion_mnist", images=2000, family="conv"))
    assert words in recommended(settings)


def test_sets_that_disagree_give_no_recommendation():
    settings = [made_up.setting(HELPS), made_up.setting(USELESS, dataset="fashion_mnist")]
    assert "no recommendation" in recommended(settings)


def test_c10_is_of_both_rivals_in_all_settings():
    (verdict,) = analysis.c10([made_up.setting(HELPS), made_up.setting(USELESS, images=2000)])
    assert [each.what for each in verdict.comparisons] == [
        "mnist-500: decov - corr",
        "mnist-500: vcreg - corr",
    ]
    assert verdict.verdict == "holds" and "These are 2 of the plan's 18 comparisons." in verdict.remark
    worse = made_up.setting(HELPS | {"corr": 0.2})
    (verdict,) = analysis.c10([worse])
    assert verdict.verdict == "does not hold"
    assert analysis.c10([made_up.setting(USELESS)]) == ()


@pytest.mark.slow
def test_the_page_shows_all_of_it(tmp_path):
    for errors, images in ((HELPS, 500), (USELESS, 2000)):
        found = made_up.setting(errors, images=images)
        found.to_netcdf(tmp_path / f"mnist-{images}.nc", engine="h5netcdf")
    written = page.write(tmp_path).read_text()
    assert recommended(page.load(tmp_path)) in written
    assert 'id="C10"' in written and written.count("<svg") == 3
    assert "better, p = 0.0176" in written and "worse" in written
    assert (tmp_path / "errors.md").read_text().splitlines() == [
        "| method | mnist-500 | mnist-2000 |",
        "| --- | --- | --- |",
        "| vanilla | 10.00 | 10.00 |",
        "| dropout | **9.00** | **9.00** |",
        "| corr | **8.00** | 10.00 |",
        "| decov | **8.50** |  |",
        "| vcreg | (12.00) |  |",
    ]
