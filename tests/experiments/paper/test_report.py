"""The page: complete, self-contained, the same each time; and what is said when there is nothing."""

import re

import numpy as np
import pytest

from experiments.grid.networks import Network
from experiments.grid.protocols import ABLATION, WITHOUT
from experiments.paper import ablation, claims, report, tables
from experiments.store import compact
from tests import made_up


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    others = {
        each.name: made_up.sweep(lambda s, v: {"early": 0.2}, variants=("vanilla", "corr-0.1", "corr-1.0"))
        for each in (*ABLATION, *WITHOUT)
    }
    sweep = made_up.sweep()
    sweep["slope"].loc[{"cell": "huge-vanilla", "seed": 3}] = -1
    sweep["diverged_epoch"].loc[{"cell": "tiny-drop", "seed": 3}] = 3
    others["another_set"] = made_up.sweep(seeds=5)
    others["another_set"]["diverged_epoch"].loc[{"cell": "huge-drop", "seed": 0}] = 3
    return folder, report.write(sweep, folder, others)


def test_the_page_needs_nothing_else(written):
    page = written[1].read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!#)(?!data:)[^"']*""", page.replace("xlink:href", "xlink"))
    assert "<script" not in page and "@import" not in page
    assert page.count("<svg") == 10 + 8  # figures but the two that need scans, and evidence
    assert page.count("</svg>") == page.count("<svg")


def test_the_page_has_everything(written):
    page = written[1].read_text()
    for verdict in claims.judge(made_up.sweep()):
        assert f'<h3 id="{verdict.claim}">' in page
    for part in (
        "168 do",
        "ablation",
        "+ input-dropout",
        "without input-dropout",
        "made up",
        "learning_curves",
        "another_set,<br>5 seeds",
        "mean, slope<br>below -0.5",
        "diverged, that is, whose loss became infinite or NaN: 1 of 10 tiny-drop.",
        "In other sweeps: another_set, 1 of 5 huge-drop.",
    ):
        assert part in page, part


def test_published_numbers_are_said_to_be_of_mnist(written, tmp_path):
    assert "these networks saw" not in written[1].read_text()
    other = made_up.sweep(sizes=("huge",))
    other["configuration"] = other.configuration.str.replace('"mnist"', '"digits"')
    assert "of MNIST, while these networks saw digits" in report.write(other, tmp_path).read_text()


def test_figures_and_verdicts_are_files_too(written):
    folder, _ = written
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {"figure1.svg", "figure1.png", "figure4.svg", "C5.svg", "slopes.png"} <= names
    table = (folder / "verdicts.md").read_text().splitlines()
    assert len(table) == 2 + 8 and table[2].startswith("| C1 (2.1) | E[rho")
    assert "**holds in part**" in table[2]
    assert (folder / "agreement.md").read_text().splitlines()[-1] == "| all | 6 | 168 |"
    steps = (folder / "ablation.md").read_text().splitlines()
    assert len(steps) == 2 + 8 and steps[-1].startswith("| + input-dropout |")


def test_it_is_the_same_each_time(written, tmp_path):
    report.write(made_up.sweep(), tmp_path)
    for name in ("figure2.svg", "C7.svg", "figure4.svg"):
        assert (tmp_path / "figures" / name).read_bytes() == (written[0] / "figures" / name).read_bytes()


def test_networks_that_all_diverged_are_no_obstacle(tmp_path):
    sweep = made_up.sweep()
    at = {"cell": "huge-corr-1.0"}
    for name in (
        "correlation",
        "mean_correlation",
        "mean_correlation_minibatch",
        "histogram_minibatch",
        "slope",
    ):
        sweep[name].loc[at] = np.nan
    sweep["diverged_epoch"].loc[at] = 1
    page = report.write(sweep, tmp_path).read_text()
    assert "infinite or NaN: 10 of 10 huge-corr-1.0.\n" in page
    assert page.count("Without them:") == 3  # C6, C7, C8
    assert "HUGE-CORRNET-1.0, diverged" in page and page.count("<svg") == 18


def test_a_small_sweep_says_what_is_missing(tmp_path):
    page = report.write(made_up.sweep(sizes=("tiny",)), tmp_path).read_text()
    assert "Not drawn: needs huge-drop, huge-vanilla." in page
    assert "No picture: no comparison was measured." in page


def test_the_ablation_counts_what_diverged_as_chance():
    sweep = made_up.sweep(lambda s, v: {"early": 0.1}, noise=0, variants=("vanilla", "corr-0.1", "corr-1.0"))
    at = {"cell": "tiny-corr-1.0"}
    sweep["diverged_epoch"].loc[at], sweep["validation_error"].loc[at] = 1, 0.9
    (step,) = ablation.steps({ABLATION[0].name: sweep})
    assert step.name == "the text, Table 1 as printed"
    assert step.errors[Network.parse("tiny-corr-1.0")] == pytest.approx(0.9)
    assert step.errors[Network.parse("tiny-vanilla")] == pytest.approx(0.1)
    assert tables.of_steps([step]).rows[0][-1] == "10 of 150"
    assert ablation.steps({}) == []
    assert ablation.steps({ABLATION[0].name: sweep.drop_sel(cell="tiny-vanilla")}) == []  # not all of it


def test_a_sweep_without_learned_slopes_is_a_sweep_too(tmp_path):
    sweep = made_up.sweep().isel(slope_layer=slice(0, 0))
    compact.save(sweep, tmp_path / "sweep.nc")
    loaded = compact.load(tmp_path / "sweep.nc")
    assert loaded.slope.shape == (20, made_up.SEEDS, made_up.EPOCHS, 0)
    assert "needs learned slopes" in report.write(loaded, tmp_path).read_text()
