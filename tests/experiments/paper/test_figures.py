"""The paper's figures show the given data and the published numbers, and say what is missing."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from experiments.grid.networks import SIZES
from experiments.grid.protocols import DROP, VANILLA
from experiments.page.drawing import Missing
from experiments.paper import figures, published
from experiments.store.gathered import error
from tests import made_up


@pytest.fixture(scope="module")
def sweep():
    return made_up.sweep(lambda size, variant: {"error": 0.1 + 0.01 * SIZES[size], "early": 0.3}, noise=0)


def bars(axes):
    """Heights of the bars, from left to right."""
    return [
        each.get_height()
        for each in sorted(axes.patches, key=lambda patch: patch.get_x())
        if isinstance(each, Rectangle) and each.get_height() and each.get_width() > 1e-6  # no band of a mean
    ]


def dashes(axes):
    """Published numbers, from left to right."""
    marked = [line for line in axes.lines if line.get_marker() == "_" and line.get_markeredgewidth() == 2]
    points = [point for line in marked for point in zip(*line.get_data(), strict=True)]
    return [float(y) for _, y in sorted((float(x), float(y)) for x, y in points)]


@pytest.mark.parametrize(("family", "trained"), [("mlp", "360 180 90"), ("conv", "36 72 144")])
def test_table1_has_the_printed_and_the_trained_widths(family, trained):
    (axes,) = figures.table1(made_up.sweep(sizes=("huge",), family=family)).axes
    cells = {place: cell.get_text().get_text() for place, cell in axes.tables[0].get_celld().items()}
    assert [cells[5, column] for column in range(7)] == ["HUGE", "90", "180", "360", *trained.split()]


def test_figure1_shows_both_histograms_and_means(sweep):
    for axes, variant in zip(figures.figure1(sweep).axes, (VANILLA, DROP), strict=True):
        np.testing.assert_allclose(bars(axes)[:40], 100 / 40)
        assert dashes(axes) == [100 * each for each in published.FIGURE_1[variant].fractions]
        lines = {
            line.get_color(): line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1
        }
        assert lines["red"] == pytest.approx(0.2)
        assert lines["black"] == published.FIGURE_1_MEAN[variant]


def test_figure2_is_a_line_a_weight_in_each_layer(sweep):
    axes = figures.figure2(sweep).axes
    assert [each.get_title() for each in axes] == ["HUGE, layer 1", "HUGE, layer 2", "HUGE, layer 3"]
    for layer, each in enumerate(axes):
        ours = [line for line in each.lines if line.get_label().endswith("NET") or "CORR" in line.get_label()]
        assert [line.get_label() for line in ours] == ["VANILLANET", "CORRNET-0.1", "CORRNET-1.0"]
        for line in ours:
            np.testing.assert_allclose(line.get_ydata(), 10)
        shown = [100 * height for layers in published.FIGURE_2.values() for height in layers[layer].fractions]
        assert sorted(dashes(each)) == sorted(shown)


def test_figure3_shows_growth(sweep):
    (axes,) = figures.figure3(sweep).axes
    growth = [1.0 * (SIZES[size] - SIZES["huge"]) for size in ("large", "medium", "small", "tiny")]
    # Each size has two bars, one for each variant.
    np.testing.assert_allclose(bars(axes), np.repeat(growth, 2), rtol=1e-6)
    vanilla, corr = published.FIGURE_3.values()
    assert dashes(axes) == [
        100 * each for pair in zip(vanilla.values(), corr.values(), strict=True) for each in pair
    ]


def test_figure4_shows_the_second_epoch(sweep):
    (axes,) = figures.figure4(sweep).axes
    np.testing.assert_allclose(bars(axes), [30] * 15)
    assert dashes(axes) == [
        100 * each
        for bar in zip(*(b.values() for b in published.FIGURE_4.values()), strict=True)
        for each in bar
    ]


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("figure1", "huge-drop"),
        ("figure2", "huge-corr-0.1"),
        ("figure3", "tiny-vanilla"),
        ("figure4", "tiny-vanilla"),
    ],
)
def test_what_is_missing_is_named(name, lacking):
    size, _, variant = lacking.partition("-")
    without = made_up.sweep().drop_sel(cell=f"{size}-{variant}")
    with pytest.raises(Missing, match=f"needs {lacking}"):
        getattr(figures, name)(without)


def test_networks_that_diverged_are_left_out():
    sweep = made_up.sweep(lambda size, variant: {"error": 0.1}, noise=0)
    at = {"cell": "tiny-vanilla", "seed": 3}
    sweep["diverged_epoch"].loc[at], sweep["validation_error"].loc[at] = 3, 0.9
    sweep["histogram_minibatch"].loc[{"cell": "huge-vanilla", "seed": 3}] = np.nan
    np.testing.assert_allclose(bars(figures.figure3(sweep).axes[0])[:2], 0, atol=1e-10)
    assert error(sweep).sel(at).values.tolist() == [
        0.9,
        0.9,
        *[pytest.approx(np.nan, nan_ok=True)] * 2,
    ]
    np.testing.assert_allclose(figures.figure2(sweep).axes[0].lines[0].get_ydata(), 10)
