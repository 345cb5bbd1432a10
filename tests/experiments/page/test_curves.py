"""Curves and matrices show the given data, and say what is missing and what diverged."""

import io

import numpy as np
import pytest

from experiments.grid.networks import SIZES, Network
from experiments.page import curves, drawing
from experiments.page.drawing import Missing
from experiments.paper.slopes import slopes
from experiments.store.gathered import cell_of
from tests import made_up


@pytest.fixture(scope="module")
def sweep():
    return made_up.sweep(lambda size, variant: {"error": 0.1 + 0.01 * SIZES[size], "early": 0.3}, noise=0)


def test_a_picture_is_two_files_and_none_where_cells_are_missing(sweep, tmp_path):
    drawn = drawing.picture(tmp_path, "a/b", "", lambda: curves.heat_maps(sweep))
    assert drawn.svg.startswith("<svg") and (tmp_path / "a-b.svg").read_text() == drawn.svg
    assert (tmp_path / "a-b.png").read_bytes().startswith(b"\x89PNG")

    def draw():
        raise Missing("needs more")

    assert drawing.picture(tmp_path, "a/b", "", draw).reason == "needs more"
    assert not list(tmp_path.iterdir())


def test_smooth_curves_are_drawn_by_few_points_and_others_by_all():
    x, values = np.arange(1, 101), np.random.default_rng(0).standard_normal((10, 100))
    axes = drawing.grid(1, 2)[1][0]
    for ax, smooth in zip(axes, (False, True), strict=True):
        drawing.band(ax, x, values, curves.VANILLA, smooth)
    whole, few = (ax.lines[0] for ax in axes)
    assert len(whole.get_xdata()) == 100 and len(few.get_xdata()) < 31
    assert {*few.get_xdata()} >= {1, 2, 3, 4, 5, 100}
    marks = [line.get_xdata()[line.get_markevery()].tolist() for line in (whole, few)]
    assert marks == 2 * [[1, 17, 33, 49, 65, 81, 97]]


def test_the_effective_number_of_units_is_drawn_beside_all(sweep):
    sweep = sweep.assign(penalty=sweep.penalty + 9)
    axes = curves.correlation_curves(sweep).axes
    cell = cell_of(sweep, Network.parse("huge-vanilla"))
    for each, layer, width in zip(axes[3:], (1, 2, 3), (360, 180, 90), strict=True):
        penalty = cell.penalty.sel(layer=layer).isel(epoch=-1).values
        r2 = (2 * penalty - 1) / (width - 1)
        units = width / (1 + (width - 1) * (r2 - (1 - r2) / 48))  # 50 samples per minibatch
        assert each.lines[0].get_ydata()[-1] == pytest.approx(units.mean())
        assert 1 < units.mean() < width
        (all_of,) = (line for line in each.lines if line.get_color() == "grey")
        assert all_of.get_ydata()[0] == width and each.texts[0].get_text() == f"all {width}"


def test_heat_maps_put_units_that_are_alike_together():
    sweep = made_up.sweep(sizes=("huge",), variants=("vanilla",))
    rho = np.eye(made_up.UNITS)
    rho[::2, ::2] = rho[1::2, 1::2] = 0.9  # two groups, interleaved
    sweep["correlation"] = sweep.correlation.copy(data=rho[None])
    (shown, *_) = curves.heat_maps(sweep).axes
    half = made_up.UNITS // 2
    drawn = shown.images[0].get_array()
    assert drawn[:half, :half].min() == 0.9 and drawn[:half, half:].max() == 0


def test_error_against_weight_takes_scans_in():
    scan = made_up.sweep(variants=("corr-0.01", "corr-10"), sizes=("tiny", "huge"), seeds=3)
    axes = curves.error_by_weight(made_up.sweep(), scan).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.01", "0.1", "1", "10"]
    lines = {line.get_label(): len(line.get_xdata()) for line in axes.lines if line.get_label()[0] != "_"}
    assert lines == {"TINY": 5, "SMALL": 3, "MEDIUM": 3, "LARGE": 3, "HUGE": 5}
    scan["diverged_epoch"].loc[{"cell": "tiny-corr-10.0", "seed": 1}] = 2
    axes = curves.error_by_weight(made_up.sweep(), scan).axes[0]
    assert [text.get_text() for text in axes.texts] == ["diverged\ntiny 1/3"]
    with pytest.raises(Missing):
        curves.error_by_weight(made_up.sweep(variants=("vanilla", "corr-0.1")))


def test_correlation_against_rate_has_both_laws():
    scan = made_up.sweep(variants=("drop-0.5",), sizes=("huge",), seeds=3)
    (axes,) = curves.correlation_by_rate(made_up.sweep(noise=0), scan).axes
    lines = {line.get_label(): line.get_data() for line in axes.lines}
    rate, law = lines["falls by p (Pearson)"]
    np.testing.assert_allclose(law, 0.2 * (1 - rate))
    np.testing.assert_allclose(lines["falls by p^2 (Section 2.1)"][1], 0.2 * (1 - rate) ** 2)
    np.testing.assert_allclose(lines["trained networks, mean ± 95%"][0], [0, 0.3, 0.5])
    scan["mean_correlation_minibatch"][:] = np.nan
    (axes,) = curves.correlation_by_rate(made_up.sweep(), scan).axes
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["diverged\n3/3"]


def test_what_diverged_is_written_into_the_figures():
    sweep = made_up.sweep(sizes=("tiny", "huge"))
    for variant in ("drop", "corr-0.1"):
        sweep["diverged_epoch"].loc[{"cell": f"tiny-{variant}"}] = 1
    (axes,) = curves.error_by_size(sweep).axes
    assert [each.get_text() for each in axes.texts] == ["diverged\ndrop 10/10\ncorr-0.1 10/10"]
    (text,) = curves.learning_curves(sweep).axes[0].texts
    assert text.get_text() == "drop: 10/10 diverged\ncorr-0.1: 10/10 diverged"


def test_a_scan_without_matrices_has_no_heat_map():
    with pytest.raises(Missing, match="needs the correlation matrices"):
        curves.heat_maps(made_up.sweep().drop_vars("correlation"))


def test_a_leap_does_not_flatten_the_learning_curves():
    sweep = made_up.sweep(sizes=("tiny",), variants=("vanilla",), noise=0)
    sweep["validation_error"].loc[{"seed": 4, "epoch": 3}] = 0.9
    low, high = curves.learning_curves(sweep).axes[0].get_ylim()
    assert 8 <= low < 10 and high > 50


@pytest.mark.parametrize(
    "draw", [curves.learning_curves, curves.correlation_curves, curves.heat_maps, slopes]
)
def test_a_sweep_of_one_network_is_drawn(draw):
    assert draw(made_up.sweep(sizes=("tiny",), variants=("vanilla",))).axes


def test_a_single_size_has_no_error_by_size():
    with pytest.raises(Missing, match=r"^needs two sizes$"):
        curves.error_by_size(made_up.sweep(sizes=("tiny",)))


def test_variants_without_a_look_are_not_drawn_by_name():
    with pytest.raises(Missing, match=r"^needs one of vanilla, drop, corr-0.1, corr-1.0$"):
        curves.learning_curves(made_up.sweep(variants=("corr-0.3",)))


def test_curves_of_networks_that_all_diverged_are_drawn():
    sweep = made_up.sweep(sizes=("tiny", "small"), variants=("vanilla",))
    sweep["diverged_epoch"][:] = 1
    for draw in (curves.learning_curves, curves.error_by_size):
        draw(sweep).savefig(io.BytesIO())


def test_a_legend_has_as_many_columns_as_fit():
    for labels, columns in (
        (map(str.upper, SIZES), 5),
        ([f"falls by p (Pearson), law {i}" for i in range(3)], 2),
    ):
        figure, ((ax,),) = drawing.grid(1, 1, width=5.6)
        for label in labels:
            ax.plot([0], label=label)
        drawing.legend(figure, ax, 5)
        assert figure.legends[0]._ncols == columns


def test_a_band_far_below_its_line_does_not_stretch_a_logarithmic_axis():
    _, ((ax,),) = drawing.grid(1, 1)
    ax.plot([0, 1], [5, 3])
    ax.fill_between([0, 1], [4, 1e-3], [6, 6])
    drawing.log_scale(ax)
    assert ax.get_ylim()[0] == pytest.approx(2.4)
