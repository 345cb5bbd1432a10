"""The committed comparison: of the settings that the reference run names, and drawn again the same."""

import pytest

from experiments import reproduce
from experiments.comparison import page, results
from experiments.comparison.methods import METHODS, PLANNED
from tests.experiments.test_reproduce import ROOT, assert_same_picture

TRAINING_IMAGES = 50_000  # of both sets


def wanted():
    """Every setting of the reference run."""
    return {
        setting.name: setting
        for options in reproduce.COMPARISONS.values()
        for name in options.datasets
        for setting in options.settings(name, TRAINING_IMAGES)
    }


def test_the_reference_run_is_what_the_plan_says():
    assert set(wanted()) == set(PLANNED)
    steps = {name: setting.steps for name, setting in wanted().items()}
    by_size = {500: 5000, 2000: 12000, 10000: 20000, 50000: 40000}
    assert steps == {"fashion_mnist-2000-conv": 4000} | {
        f"{name}-{images}": number
        for name in ("mnist", "fashion_mnist")
        for images, number in by_size.items()
    }
    for setting in wanted().values():
        assert (setting.trials, setting.seeds, setting.report_seeds, setting.moments) == (12, 3, 10, 50)
        assert setting.size == ("tiny" if setting.family == "conv" else "medium")


@pytest.mark.slow
def test_the_committed_settings_are_whole_and_small():
    paths = sorted(page.REFERENCE.glob("*.nc"))
    assert paths and sum(path.stat().st_size for path in page.REFERENCE.rglob("*.nc")) < 1.5e6
    for path in paths:
        found = results.load(path)
        assert results.setting_of(found) == wanted()[path.stem]
        assert found.method.values.tolist() == list(METHODS)
        assert not any("dirty" in str(commit) for commit in found.commit.values)


@pytest.mark.golden
@pytest.mark.slow
def test_the_committed_page_is_that_of_the_committed_results(tmp_path, no_png):
    written = page.write(page.REFERENCE, tmp_path).read_text()
    table = (page.REFERENCE / "errors.md").read_text()
    assert (tmp_path / "errors.md").read_text() == table
    readme = (ROOT / "experiments" / "README.md").read_text()
    assert table in readme
    recommendation = written.split("<strong>")[1].split("</strong>")[0]
    assert recommendation in " ".join(readme.split())
    committed = {path.name: path.read_text() for path in (page.REFERENCE / "figures").glob("*.svg")}
    drawn = {path.name: path.read_text() for path in (tmp_path / "figures").glob("*.svg")}
    assert set(drawn) == set(committed)
    for name in committed:
        assert_same_picture(drawn[name], committed[name], name)
