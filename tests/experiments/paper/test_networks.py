"""Measurements of trained networks: units that can be merged, the laws of dropout, and final basins."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from scipy import stats

from decorr.config import Architecture
from decorr.models import MLP
from experiments import reproduce
from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.page.drawing import Missing
from experiments.page.tables import markdown
from experiments.paper import report
from experiments.paper.beyond import dropout_law, forty_seeds, merging
from experiments.statistics.verdicts import Verdict, above_zero
from experiments.store import measurements
from experiments.sweep import Sweep
from tests import made_up

DIGITS = Sweep(sizes=("tiny",), variants=("vanilla", "drop", "corr-0.1", "corr-1.0"), seeds=2, epochs=1)
CONSOLE = Console(quiet=True)


@pytest.fixture(scope="module")
def measured(tmp_path_factory, trained_here):
    """Measures small networks. Returns the options, and the studies and files of both measurements."""
    folder = tmp_path_factory.mktemp("measured")
    options = reproduce.Reproduce(results=folder / "cells", out=folder)
    grids = {"merging": DIGITS.cells(), "dropout-law": DIGITS.cells()[:1]}
    studies = {
        name: dataclasses.replace(reproduce.MEASUREMENTS[name], cells=cells) for name, cells in grids.items()
    }
    options.results.mkdir()
    (options.results / "dropout-law").symlink_to("merging")  # its network is one of the merged networks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "THRESHOLDS", (0.99, 0.6, 0.3))
        for study in studies.values():
            reproduce.measure(options, study, CONSOLE)
    return options, studies, {name: folder / "networks" / f"{name}.nc" for name in studies}


@pytest.mark.slow
def test_a_measurement_is_made_once_and_of_what_it_says(measured, monkeypatch):
    options, studies, paths = measured
    path = paths["merging"]
    assert path.stat().st_size < 3e5 and paths["dropout-law"].stat().st_size < 3e5
    attributes = measurements.load(path, {}).attrs
    assert [each["variant"] for each in json.loads(attributes["configurations"])] == list(DIGITS.variants)
    assert {"commit", "trained_by_commit", "created", "dataset_version"} <= attributes.keys()
    monkeypatch.setattr(reproduce, "train", None)  # training would fail
    reproduce.measure(options, studies["merging"], CONSOLE)
    for changed, said in (
        ({"epochs": 3}, r"other options \(protocol.epochs is 1 there, not 3\)"),
        (
            {"variants": ("vanilla",)},
            r"other options \(grid is tiny-vanilla, .* there, not tiny-vanilla\)",
        ),
    ):
        cells = dataclasses.replace(DIGITS, **changed).cells()
        with pytest.raises(ResultsError, match=said):
            reproduce.measure(options, dataclasses.replace(studies["merging"], cells=cells), CONSOLE)


@pytest.mark.slow
def test_merging_trained_networks(measured):
    merged = measurements.load(measured[2]["merging"], merging.DIMENSIONS)
    assert merged.units.shape == (4, 2, 3, 3)
    assert merged.width.values.tolist() == [40, 20, 10]
    assert (merged.units > 0).all() and (merged.units <= merged.width).all()
    shares = merging.shares(merged)
    assert (shares.isel(threshold=-1) < 0.7 * shares.isel(threshold=0)).all()  # at thresholds 0.3 and 0.99
    with netcdf.read(measured[0].results / "merging" / "tiny-drop.nc") as cell:
        np.testing.assert_allclose(
            merged.whole_error.sel(variant="drop"), cell.validation_error.isel(epoch=-1), atol=1e-6
        )
    assert merging.c11(merged).verdict == "cannot be told"  # with two seeds
    assert len(merging.figure(merged).axes[0].lines) == 4 * (2 + 1)


@pytest.mark.slow
def test_the_laws_on_trained_networks(measured):
    law = measurements.load(measured[2]["dropout-law"], dropout_law.DIMENSIONS)
    assert law.pairs.values.tolist() == [[40 * 39 / 2, 20 * 19 / 2, 10 * 9 / 2]] * 2
    assert int(law.left_out.sum()) == 0
    assert law.counts.sum(["predicted", "observed"]).values.tolist() == [[2 * 780, 2 * 190, 2 * 45]] * 3
    general, *others = (law.r2.sel(law=name) for name in dropout_law.LAWS)
    assert (general > 0.8).all() and all((general > other).all() for other in others)
    assert len(dropout_law.figure(law).axes) == 9


@pytest.mark.slow
def test_the_page_has_what_was_measured_and_only_that(measured, forty, tmp_path):
    sweep, networks = made_up.sweep(sizes=("tiny",)), report.measurements_of(measured[0].out)
    names = ("merging", "dropout-law", "convolutions", "basins")
    variants = ("vanilla", "corr-0.1", "corr-1.0")
    convolutional = made_up.sweep(sizes=("tiny", "small"), variants=variants, noise=0, family="conv")
    others = {
        "mnist-forty": forty,
        "fashion_mnist-conv": convolutional,
    }
    further = [Verdict("C10", "1.2", "Better.", above_zero({"a": np.full(10, 0.1)}))]
    page = report.write_paper(sweep, tmp_path, others, networks, further).read_text()
    for name in names:
        assert f'<h3 id="{name}">' in page
        assert (tmp_path / "figures" / f"{name}.svg").exists() and (tmp_path / f"{name}.md").exists()
    table = (tmp_path / "beyond.md").read_text()
    assert '<h3 id="C11">' in page and "| C11 (1.1) | " in table
    assert '<h3 id="C10"' in page and "| C10 (1.2) | Better. | **holds** | 1, 0, 0 |" in table
    # P is 1.2, so d / (2P) = 1.7 for 4 channels.
    assert (
        (tmp_path / "convolutions.md")
        .read_text()
        .splitlines()[2]
        .startswith("| tiny-vanilla | 0.200, 1.7 | ")
    )
    assert "0 of 2030 pairs are left out" in page
    page = report.write_paper(sweep, tmp_path).read_text()
    assert "Beyond the paper" not in page
    left = {path.stem for path in tmp_path.rglob("*")}
    assert not left & {*names, "beyond"}


# Merging.


@pytest.mark.parametrize("duplicated", [True, False])
def test_duplicates_are_lost_and_nothing_else(duplicated):
    architecture = Architecture((6, 5, 4), "prelu", 0.25, "torch", input_dropout=False)
    model = MLP(architecture, classes=3)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((500, 7)), jnp.float32)
    params = jax.tree.map(np.array, jax.jit(model.init)(jax.random.key(0), x)["params"])
    if duplicated:  # in layers 1 and 3, unit 2 is twice unit 0, also after PReLU
        for layer in ("hidden_1", "hidden_3"):
            for array in params[layer].values():
                array[..., 2] = 2 * array[..., 0]
    run = jax.jit(lambda params, x: model.apply({"params": params}, x))
    merged, units = merging.merge(run, params, x, 0.9999)
    assert units == ([5, 5, 3] if duplicated else [6, 5, 4])
    np.testing.assert_allclose(run(merged, x)[0], run(params, x)[0], atol=1e-6)
    assert (merged["hidden_2"]["kernel"][2] == 0).all() == duplicated


def made_up_merging(needed, diverged=()):
    """Networks of 100 units, which can be merged to about `needed[variant]` units within the margin."""
    random = np.random.default_rng(0)
    variants, seeds = list(needed), 10
    steps = len(merging.THRESHOLDS)
    units = np.zeros((len(variants), seeds, steps, 1), int)
    for i, name in enumerate(variants):
        for seed, least in enumerate(needed[name] + random.integers(-2, 3, seeds)):
            units[i, seed, :, 0] = [*np.linspace(100, least, steps - 1).round(), least - 5]
    whole = np.broadcast_to(300 + 2 * np.arange(seeds), units.shape[:2])  # wrong images of 10,000
    error = np.repeat(whole[:, :, None], steps, axis=2)
    error[:, :, -2] += 10  # just within the margin
    error[:, :, -1] += 11
    dataset = xr.Dataset(
        {
            "units": (("variant", "seed", "threshold", "layer"), units),
            "error": (("variant", "seed", "threshold"), (error / 1e4).astype(np.float32)),
            "whole_error": (("variant", "seed"), (whole / 1e4).astype(np.float32)),
            "width": (("layer",), [100]),
            "diverged": (("variant", "seed"), np.zeros(units.shape[:2], int)),
        },
        coords={"variant": variants, "seed": np.arange(seeds), "threshold": list(merging.THRESHOLDS)},
    )
    for name, seed in diverged:
        at = {"variant": name, "seed": seed}
        dataset["units"].loc[at], dataset["diverged"].loc[at] = 0, 1
        dataset["error"].loc[at] = dataset["whole_error"].loc[at] = np.float32(0.9)
    return dataset


TRUE = {"vanilla": 50, "drop": 60, "corr-0.1": 80, "corr-1.0": 90}
FALSE = {"vanilla": 90, "drop": 80, "corr-0.1": 60, "corr-1.0": 50}


@pytest.mark.parametrize(("needed", "verdict"), [(TRUE, "holds"), (FALSE, "does not hold")])
def test_c11_both_ways(needed, verdict):
    dataset = made_up_merging(needed)
    np.testing.assert_allclose(
        merging.needed(dataset).mean("seed"), [each / 100 for each in needed.values()], atol=0.02
    )
    judged = merging.c11(dataset)
    assert judged.verdict == verdict and len(judged.comparisons) == 4
    assert "diverged" not in judged.remark


def test_all_units_are_needed_where_every_merger_costs():
    dataset = made_up_merging(TRUE)
    dataset["error"] += 0.01
    assert (merging.needed(dataset) == 1).all()


def test_a_network_that_diverged_needs_no_unit():
    dataset = made_up_merging(TRUE, [("corr-1.0", seed) for seed in range(3)])
    judged = merging.c11(dataset)
    assert judged.verdict == "holds in part"
    assert judged.comparisons[0].values.min() < -0.4  # 0 units minus vanilla's half of the units
    assert (
        "need" in judged.remark
        and "(3 of 10 corr-1.0) are" in judged.remark
        and "Without these networks: holds (4, 0, 0)." in judged.remark
    )
    (table,) = merging.tables(dataset)
    assert table.rows[-1][-1] == "3 of 10" and float(table.rows[-1][1]) == pytest.approx(0.9, abs=0.02)
    merging.figure(dataset)


# The law of dropout.


@pytest.mark.parametrize(("mean", "slopes"), [(0.0, (1, 1 / 0.7, 1)), (2.0, (1, None, 1 / (1 + 0.3 * 4)))])
def test_the_law_of_gaussian_units_is_the_general_one(mean, slopes):
    """For units of variance 1 and equal mean: rho' = 0.7 rho / (1 + 0.3 mean^2)."""
    random = np.random.default_rng(0)
    a = random.standard_normal((20_000, 3)) @ random.standard_normal((3, 6))
    a = mean + a / a.std(axis=0)
    a = np.column_stack([a, np.full(len(a), 0.1)])  # a constant unit has no correlation
    observed, predicted, left_out = dropout_law.correlations(jnp.asarray(a, jnp.float32), jax.random.key(0))
    assert left_out == 6 and observed.shape == (15,)
    for name, slope in zip(dropout_law.LAWS, slopes, strict=True):
        found, r2 = dropout_law.fit(observed, predicted[name])
        if slope is not None:
            assert found == pytest.approx(slope, abs=0.01)
        assert (r2 > 0.999) == (slope == 1)
    np.testing.assert_allclose(predicted["keep^2 rho"], 0.7 * predicted["keep rho"], rtol=1e-6)


def test_without_a_pair_a_law_has_no_numbers():
    assert np.isnan(dropout_law.fit(np.zeros(0), np.zeros(0))).all()


# The basins in which networks end.


@pytest.fixture
def forty(monkeypatch):
    """Forty networks, 25 of which end in the upper basin. Layer 1's slope at epoch 5 shows which."""
    monkeypatch.setattr(made_up, "EPOCHS", 6)
    sweep = made_up.sweep(variants=("vanilla", "corr-0.1"), seeds=40)
    slope = np.ones((40, 6, 3))
    slope[:, :2] = np.random.default_rng(0).standard_normal((40, 2, 1))
    slope[:25, 4:], slope[25:37, 4:], slope[37:, 4:] = 2, -2, 0
    slope[0, 4] = 0  # one of the 25 ties with three of the other 15
    slope[39, 5] = np.nan  # diverged at the end
    sweep["slope"].loc[{"cell": "huge-vanilla"}] = slope
    return sweep


def test_basins_are_counted(forty):
    groups = forty_seeds.basins(forty)
    assert [group.members for group in groups] == [12, 2, 25] and {group.networks for group in groups} == {40}
    share = groups[-1].share
    assert share.estimate == 25 / 40
    z, n, p = stats.norm.ppf(0.975), 40, 25 / 40  # Wilson (1927)
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    np.testing.assert_allclose(
        (share.low, share.high), ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))
    )


def test_what_tells_basins_apart(forty):
    signs = {(sign.quantity, sign.epoch): sign for sign in forty_seeds.signs(forty)}
    assert len(signs) == 9
    last, first = signs["slope of layer 1", 5], signs["slope of layer 1", 1]
    # 24 of the 25 networks exceed all 14 others. The last one exceeds 12 of them, and equals 2.
    assert last.area == pytest.approx((24 * 14 + 12 + 1) / (25 * 14))
    assert last.p == pytest.approx(9 / 10_001) and first.p > 0.05
    slope = forty.slope.sel(cell="huge-vanilla").isel(epoch=0, slope_layer=0).values
    u = stats.mannwhitneyu(slope[:25], slope[25:39]).statistic
    assert first.area == pytest.approx(u / (25 * 14))
    assert signs["mean abs. rho of layer 1", 2].p > 0.05
    shares, areas = forty_seeds.tables(forty)
    assert shares.rows[-1] == ("above 0.5", "25 of 40", "0.62 [0.47, 0.76]") and len(areas.rows) == 9
    assert len(forty_seeds.figure(forty).axes) == 9


def test_where_all_end_alike_nothing_tells_them_apart(forty):
    alike = forty.isel(seed=slice(0, 25))
    assert [group.members for group in forty_seeds.basins(alike)] == [0, 0, 25]
    short, without_slopes = forty.isel(epoch=slice(0, 4)), forty.isel(slope_layer=slice(0, 0))
    for sweep in (alike, short, without_slopes):
        assert forty_seeds.signs(sweep) == []
        with pytest.raises(Missing):
            forty_seeds.figure(sweep)
    assert markdown(*forty_seeds.tables(without_slopes)) == ""
