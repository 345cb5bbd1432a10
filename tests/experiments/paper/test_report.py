"""The page: complete, self-contained, the same each time; and what is said when there is nothing."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.grid.networks import Network
from experiments.grid.protocols import ABLATION, WITHOUT
from experiments.page import drawing
from experiments.page.evidence import evidence
from experiments.paper import ablation, claims, figures, report, tables
from experiments.store import compact
from tests import made_up

DRAWN = ("figure2", "figure4", "heat_maps", "C7")


@pytest.fixture(scope="module", autouse=True)
def few_are_drawn():
    """Of the others the figure is made and an empty one drawn, which takes a third of the time."""
    whole = drawing.picture

    def picture(folder, name, title, draw):
        return whole(folder, name, title, draw if name in DRAWN else lambda: draw() and Figure())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "picture", picture)
        yield


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


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The page of a sweep of digits with one size and no learned slopes, as a compact file keeps it."""
    folder = tmp_path_factory.mktemp("small")
    sweep = made_up.sweep(sizes=("tiny",)).isel(slope_layer=slice(0, 0))
    sweep["configuration"] = sweep.configuration.str.replace('"mnist"', '"digits"')
    compact.save(sweep, folder / "sweep.nc")
    loaded = compact.load(folder / "sweep.nc")
    assert loaded.slope.shape == (4, made_up.SEEDS, made_up.EPOCHS, 0)
    return report.write(loaded, folder).read_text()


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


def test_published_numbers_are_said_to_be_of_mnist(written, small):
    assert "these networks saw" not in written[1].read_text()
    assert "of MNIST, while these networks saw digits" in small


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
    sweep = made_up.sweep()
    again = {
        "figure2": lambda: figures.figure2(sweep),
        "C7": lambda: evidence(claims.c7(sweep)),
        "figure4": lambda: figures.figure4(sweep),
    }
    for name, draw in again.items():
        drawing.picture(tmp_path, name, "", draw)
        first = written[0] / "figures" / f"{name}.svg"
        assert (tmp_path / f"{name}.svg").read_bytes() == first.read_bytes()


@pytest.mark.slow
def test_networks_that_all_diverged_are_no_obstacle(tmp_path):
    sweep = made_up.sweep(sizes=("tiny", "huge"))
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
    assert "HUGE-CORRNET-1.0, diverged" in page and page.count("<svg") == 16


def test_a_small_sweep_says_what_is_missing(small):
    assert "Not drawn: needs huge-drop, huge-vanilla." in small
    assert "No picture: no comparison was measured." in small
    assert "needs learned slopes" in small


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
