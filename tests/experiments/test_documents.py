"""Numbers in the sentences of documents are those of committed results. Other tests check most tables."""

from pathlib import Path

import pytest

from experiments.documents import check
from experiments.grid.networks import Network, Variant
from experiments.paper import report
from experiments.statistics import intervals
from experiments.store import compact
from experiments.store.gathered import cell_of

ROOT = Path(__file__).parents[2]
PHRASE = "errs on {5 / 2}%, and {1 + 2} diverge :: MARGIN > 0"


@pytest.mark.golden
@pytest.mark.slow
def test_every_number_of_the_sentences_is_a_result():
    assert list(check.mistakes()) == []


@pytest.mark.parametrize(
    ("markdown", "mistakes"),
    [
        ("It errs on 2.5%, and three\ndiverge.\n\n| 7.7 |\n", []),
        ("It errs on 2.6%, and three diverge.", ["2.6 should be 2.5, by 5 / 2"]),
        ("| a | errs on 2.6%, and three diverge |", ["2.6 should be 2.5, by 5 / 2"]),
        ("It errs on 2%, and three diverge.", []),  # rounded
        ("It errs on 2.5%, and four diverge.", ["four should be 3, by 1 + 2"]),
        ("It errs on 2.5%, and 3 diverge in 4.5 s.", ["has no phrase: 4.5"]),
        ("It wins.", ["occurs 0 times: errs on {5 / 2}%, and {1 + 2} diverge"]),
        (
            2 * "It errs on 2.5%, and 3 diverge. ",
            ["occurs 2 times: errs on {5 / 2}%, and {1 + 2} diverge", "has no phrase: 2.5%"],
        ),
    ],
)
def test_what_differs_is_named(markdown, mistakes):
    assert list(check.mistakes_in(markdown, [PHRASE])) == mistakes


def test_what_is_no_longer_true_is_named():
    assert list(check.mistakes_in("It wins.", ["wins :: MARGIN < 0"])) == ["is not true: wins"]


@pytest.mark.golden
def test_the_table_of_digits():
    digits = compact.load(report.REFERENCE / "digits.nc")
    for variant in ("vanilla", "drop", "corr-0.1", "corr-1.0"):
        cell = cell_of(digits, Network("huge", Variant.parse(variant)))
        measured = [cell.validation_error.sel(epoch=epoch) for epoch in (2, 100)]
        measured += [cell.mean_correlation.isel(epoch=-1).sel(layer=layer) for layer in cell.layer]
        means = (intervals.of_mean(each.values) for each in measured)
        cells = " | ".join(f"{mean:.3f} ± {high - mean:.3f}" for mean, _, high in means)
        assert f"| huge-{variant} | {cells} |\n" in (ROOT / "experiments" / "README.md").read_text()
