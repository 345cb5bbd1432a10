"""Figures: that they show what they are given and what was published, and say what they lack."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from decorr.config import SIZES, VARIANTS
from decorr.penalty import independent_penalty
from experiments import claims, compact, figures, further_figures, published, style, verdicts
from experiments.figures import Missing
from experiments.verdicts import Verdict
from tests import made_up

PAPERS = ("table1", "figure1", "figure2", "figure3", "figure4")
FURTHER = ("learning_curves", "correlation_curves", "heat_maps", "error_by_size", "slopes")


@pytest.fixture(scope="module")
def sweep():
    return made_up.sweep(lambda size, variant: {"error": 0.1 + 0.01 * SIZES[size], "early": 0.3}, noise=0)


def bars(axes):
    """Heights of the bars, from left to right."""
    return [
        each.get_height()
        for each in sorted(axes.patches, key=lambda patch: patch.get_x())
        if isinstance(each, Rectangle) and each.get_height() and each.get_width() > 1e-6  # not a mean's band
    ]


def dashes(axes):
    """Published numbers, from left to right."""
    marked = [line for line in axes.lines if line.get_marker() == "_" and line.get_markeredgewidth() == 2]
    points = [point for line in marked for point in zip(*line.get_data(), strict=True)]
    return [float(y) for _, y in sorted((float(x), float(y)) for x, y in points)]


def test_table1_has_the_printed_and_the_trained_widths(sweep):
    (axes,) = figures.table1(sweep).axes
    cells = {place: cell.get_text().get_text() for place, cell in axes.tables[0].get_celld().items()}
    assert [cells[5, column] for column in range(7)] == ["HUGE", "90", "180", "360", "360", "180", "90"]


def test_figure1_shows_both_histograms_and_means(sweep):
    for axes, variant in zip(figures.figure1(sweep).axes, ("vanilla", "drop"), strict=True):
        np.testing.assert_allclose(bars(axes)[:40], 1 / 40)
        assert dashes(axes) == list(published.FIGURE_1[variant].fractions)
        lines = {
            line.get_color(): line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1
        }
        assert lines["red"] == pytest.approx(0.2)
        assert lines["black"] == published.FIGURE_1_MEAN[variant]


def test_figure2_is_variants_by_layers(sweep):
    axes = figures.figure2(sweep).axes
    assert [each.get_title() for each in axes[::3]] == [
        f"HUGE-{name}, layer 1" for name in ("VANILLANET", "CORRNET-0.1", "CORRNET-1.0")
    ]
    for each, histogram in zip(
        axes, (h for layers in published.FIGURE_2.values() for h in layers), strict=True
    ):
        np.testing.assert_allclose(bars(each), 0.1)
        assert dashes(each) == list(histogram.fractions)


def test_figure3_shows_growth(sweep):
    (axes,) = figures.figure3(sweep).axes
    growth = [0.01 * (SIZES[size] - SIZES["huge"]) for size in ("large", "medium", "small", "tiny")]
    # Two variants side by side for each size.
    np.testing.assert_allclose(bars(axes), np.repeat(growth, 2), rtol=1e-6)
    vanilla, corr = published.FIGURE_3.values()
    assert dashes(axes) == [
        each for pair in zip(vanilla.values(), corr.values(), strict=True) for each in pair
    ]


def test_figure4_shows_the_second_epoch(sweep):
    (axes,) = figures.figure4(sweep).axes
    np.testing.assert_allclose(bars(axes), [0.3] * 15)
    assert dashes(axes) == [
        each for bar in zip(*(b.values() for b in published.FIGURE_4.values()), strict=True) for each in bar
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


def test_the_floor_of_the_penalty_is_drawn(sweep):
    axes = further_figures.correlation_curves(sweep).axes
    for each, width in zip(axes[3:], (360, 180, 90), strict=True):
        (floor,) = (line for line in each.lines if line.get_color() == "grey")
        assert floor.get_ydata()[0] == independent_penalty(50, width)


def test_heat_maps_put_units_that_are_alike_together():
    sweep = made_up.sweep(sizes=("huge",), variants=("vanilla",))
    rho = np.eye(made_up.UNITS)
    rho[::2, ::2] = rho[1::2, 1::2] = 0.9  # two groups, interleaved
    sweep["correlation"] = sweep.correlation.copy(data=rho[None])
    (shown, *_) = further_figures.heat_maps(sweep).axes
    half = made_up.UNITS // 2
    drawn = shown.images[0].get_array()
    assert drawn[:half, :half].min() == 0.9 and drawn[:half, half:].max() == 0


def test_error_against_weight_takes_scans_in():
    scan = made_up.sweep(variants=("corr-0.01", "corr-10"), sizes=("tiny", "huge"), seeds=3)
    axes = further_figures.error_by_weight(made_up.sweep(), scan).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.01", "0.1", "1", "10"]
    lines = {line.get_label(): len(line.get_xdata()) for line in axes.lines if line.get_label()[0] != "_"}
    assert lines == {"TINY": 5, "SMALL": 3, "MEDIUM": 3, "LARGE": 3, "HUGE": 5}
    scan["diverged_epoch"].loc[{"cell": "tiny-corr-10", "seed": 1}] = 2
    axes = further_figures.error_by_weight(made_up.sweep(), scan).axes[0]
    assert [text.get_text() for text in axes.texts] == ["diverged\ntiny 1/3"]
    with pytest.raises(Missing):
        further_figures.error_by_weight(made_up.sweep(variants=("vanilla", "corr-0.1")))


def test_correlation_against_rate_has_both_laws():
    scan = made_up.sweep(variants=("drop-0.5",), sizes=("huge",), seeds=3)
    (axes,) = further_figures.correlation_by_rate(made_up.sweep(noise=0), scan).axes
    lines = {line.get_label(): line.get_data() for line in axes.lines}
    rate, law = lines["falls by p (Pearson)"]
    np.testing.assert_allclose(law, 0.2 * (1 - rate))
    np.testing.assert_allclose(lines["falls by p^2 (Section 2.1)"][1], 0.2 * (1 - rate) ** 2)
    np.testing.assert_allclose(lines["trained networks, mean ± 95%"][0], [0, 0.3, 0.5])
    scan["mean_correlation_minibatch"][:] = np.nan
    (axes,) = further_figures.correlation_by_rate(made_up.sweep(), scan).axes
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["diverged\n3/3"]


def test_evidence_shows_every_seed(sweep):
    verdict = claims.c4(made_up.sweep())
    (axes,) = further_figures.evidence(verdict).axes
    assert sum(len(each.get_offsets()) for each in axes.collections) == 6 * made_up.SEEDS
    with pytest.raises(Missing):
        further_figures.evidence(claims.c5(made_up.sweep(sizes=("tiny",))))


def test_errors_of_rounding_are_not_drawn():
    def drawn(error):
        exact = verdicts.always("x", error * np.arange(1, 6), 0, tolerance=1e-8)
        (axes,) = further_figures.evidence(Verdict("C", "1", "", (exact,))).axes
        return [each.get_offsets()[:, 0].tolist() for each in axes.collections], axes.get_xlim()

    assert drawn(1e-16) == drawn(7e-15)  # one processor and another
    assert drawn(1e-16) != drawn(1e-9)
    (places,), (low, high) = drawn(1e-5)
    assert low < min(places) and max(places) < high


def test_evidence_stays_readable_beside_a_network_that_diverged():
    sweep = made_up.sweep()
    assert further_figures.evidence(claims.c8(sweep)).axes[0].get_xscale() == "linear"
    sweep["validation_error"].loc[{"cell": "tiny-corr-1.0", "seed": 4}] = 0.9
    (axes,) = further_figures.evidence(claims.c8(sweep)).axes
    assert axes.get_xscale() == "symlog" and axes.get_xlabel() == "logarithmic beyond 0.004"
    sweep = made_up.sweep(sizes=("tiny",), noise=0)
    sweep["validation_error"].loc[{"cell": "tiny-vanilla", "seed": 4}] = 0.9  # all other differences are 0
    assert further_figures.evidence(claims.c8(sweep)).axes


def test_what_diverged_is_written_into_the_figures():
    sweep = made_up.sweep(sizes=("tiny", "huge"))
    for variant in ("drop", "corr-0.1"):
        sweep["diverged_epoch"].loc[{"cell": f"tiny-{variant}"}] = 1
    (axes,) = further_figures.error_by_size(sweep).axes
    assert [each.get_text() for each in axes.texts] == ["diverged\ndrop 10/10\ncorr-0.1 10/10"]
    (text,) = further_figures.learning_curves(sweep).axes[0].texts
    assert text.get_text() == "drop: 10/10 diverged\ncorr-0.1: 10/10 diverged"


def test_a_scan_without_matrices_has_no_heat_map():
    with pytest.raises(Missing, match="needs matrices"):
        further_figures.heat_maps(made_up.sweep().drop_vars("correlation"))


def test_a_leap_does_not_flatten_the_learning_curves():
    sweep = made_up.sweep(sizes=("tiny",), variants=("vanilla",), noise=0)
    sweep["validation_error"].loc[{"seed": 4, "epoch": 3}] = 0.9
    low, high = further_figures.learning_curves(sweep).axes[0].get_ylim()
    assert low == pytest.approx(0.08) and high > 0.5
    sweep["diverged_epoch"][:] = 1
    assert further_figures.learning_curves(sweep).axes


@pytest.mark.parametrize("name", FURTHER)
def test_a_sweep_of_one_network_is_drawn_or_says_what_it_needs(name):
    small = made_up.sweep(sizes=("tiny",), variants=("vanilla",))
    try:
        assert getattr(further_figures, name)(small).axes
    except Missing as missing:
        assert str(missing) == "needs two sizes"


def test_variants_look_different_in_grey():
    looks = [style.line(variant) for variant in VARIANTS]
    for attribute in ("color", "marker", "linestyle"):
        assert len({look[attribute] for look in looks}) == 4
    assert len({style.bar(variant)["hatch"] for variant in VARIANTS}) == 4


def test_networks_that_diverged_are_left_out():
    sweep = made_up.sweep(lambda size, variant: {"error": 0.1}, noise=0)
    at = {"cell": "tiny-vanilla", "seed": 3}
    sweep["diverged_epoch"].loc[at], sweep["validation_error"].loc[at] = 3, 0.9
    sweep["histogram_minibatch"].loc[{"cell": "huge-vanilla", "seed": 3}] = np.nan
    np.testing.assert_allclose(bars(figures.figure3(sweep).axes[0])[:2], 0, atol=1e-12)
    assert compact.error(sweep).sel(at).values.tolist() == [
        0.9,
        0.9,
        *[pytest.approx(np.nan, nan_ok=True)] * 2,
    ]
    np.testing.assert_allclose(bars(figures.figure2(sweep).axes[0]), 0.1)
