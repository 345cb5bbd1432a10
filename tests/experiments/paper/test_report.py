"""The page is complete, self-contained and reproducible. It also says when there are no results."""

import json
import re

import numpy as np
import pytest

from experiments.grid.networks import Network
from experiments.grid.protocols import ABLATION, WITHOUT
from experiments.page import drawing
from experiments.page.evidence import evidence
from experiments.paper import ablation, claims, figures, report, tables
from experiments.store import compact
from experiments.store import gathered as stored
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
    others["another_set"] = made_up.sweep(seeds=6)
    others["another_set"]["diverged_epoch"].loc[{"cell": "huge-drop", "seed": 0}] = 3
    return folder, report.write_paper(sweep, folder, others)


def test_other_training_than_the_papers_judges_nothing():
    sweep = made_up.sweep()
    assert report.judges(sweep)
    configuration = stored.configuration(sweep)
    for change in ({"widths": [60]}, {"optimiser": "adamw"}, {"optimisation": {}}, {"name": "mine"}):
        other = json.dumps(configuration | {"protocol": configuration["protocol"] | change})
        assert not report.judges(sweep.assign(configuration=("cell", [other] * sweep.sizes["cell"])))


def test_the_page_needs_nothing_else(written):
    page = written[1].read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!#)(?!data:)[^"']*""", page.replace("xlink:href", "xlink"))
    assert "<script" not in page and "@import" not in page
    assert page.count("<svg") == 10 + 8  # 10 figures (3 others need other sweeps), 8 of evidence
    assert page.count("</svg>") == page.count("<svg")


def test_the_page_has_everything(written):
    page = written[1].read_text()
    for number in range(1, 9):
        assert f'<h3 id="C{number}">' in page
    for part in (
        "6 of the paper&#39;s 168 published numbers lie",
        "In 0 of 6 comparisons, more weight means less correlation",
        "More weight, less correlation",
        "ablation",
        "+ input-dropout",
        "without input-dropout",
        "made up",
        "learning_curves",
        'another_set<span class="counts">6 seeds</span>',
        "mean, slope<br>below -0.5",
        "The loss of these networks became infinite or NaN: 1 of 10 tiny-drop.",
        "In other sweeps: another_set, 1 of 6 huge-drop.",
    ):
        assert part in page, part


def test_the_answer_comes_first(written):
    page = written[1].read_text()
    places = [page.index(f'id="{each}"') for each in ("answer", "verdicts", "figure2", "figure4", "claims")]
    assert places == sorted(places)
    assert page.index("How a verdict is reached") < page.index('<h2 id="claims">')
    assert "these networks saw" not in page and "prefers-color-scheme: dark" in page


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


@pytest.mark.slow
def test_it_is_the_same_each_time(written, tmp_path):
    sweep = made_up.sweep()
    again = {
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
    page = report.write_paper(sweep, tmp_path).read_text()
    assert "infinite or NaN: 10 of 10 huge-corr-1.0.\n" in page
    assert page.count("Without them:") == 3  # in C6, C7 and C8
    assert "HUGE-CORRNET-1.0, diverged" in page and page.count("<svg") == 16


def test_another_sweep_has_a_page_without_verdicts(tmp_path):
    """The sweep is a compact file, and its networks are in none of the paper's figures."""
    sweep = made_up.sweep(sizes=("tiny",), variants=("vanilla", "corr-0.3", "decov-1.0"), noise=0)
    sweep = sweep.isel(slope_layer=slice(0, 0))
    sweep["validation_error"].loc[{"cell": "tiny-corr-0.3"}] -= 0.02 + 0.001 * np.arange(10)[:, None]
    compact.save(sweep, tmp_path / "sweep.nc")
    page = report.write(compact.load(tmp_path / "sweep.nc"), tmp_path).read_text()
    assert "cannot judge the paper&#39;s claims" in page and "cannot be told" not in page
    assert '<tr><th>network</th><th>error, last epoch</th><th class="also">seeds</th>' in page
    assert "<td>tiny-vanilla - tiny-corr-0.3</td><td>+2.45 [" in page
    assert re.findall(r"<td>(better|worse|inconclusive)</td>", page) == ["better", "inconclusive"]
    assert page.count("<svg") == 2 and {each.stem for each in (tmp_path / "figures").iterdir()} == {
        "curves",
        "differences",
    }


def test_the_digits_and_mnist_seem_to_disagree():
    text = report.conclusion(compact.load(report.REFERENCE / "digits.nc"))
    assert "100 epochs are 2,500 steps on the digits, and 100 epochs are 100,000 steps on MNIST" in text
    assert "At step 2,000, the error is lower with the penalty on both data sets." in text
    assert report.conclusion(made_up.sweep(sizes=("tiny",))) == ""


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
    assert ablation.steps({ABLATION[0].name: sweep.drop_sel(cell="tiny-vanilla")}) == []  # a cell is missing
