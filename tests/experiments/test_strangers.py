"""All readers refuse broken or hostile results of other people, with one line."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
import xarray as xr

from experiments.comparison import page, results
from experiments.comparison.settings import Budget, Setting
from experiments.disk import netcdf
from experiments.disk.errors import ResultsError, first_line
from experiments.paper import report
from experiments.store import checkpoints, compact, finished, gathered, measurements
from tests import made_up
from tests.experiments.comparison.test_page import networks
from tests.experiments.store.made_up_cell import BLOCK, CELL, DATA, history, write, write_checkpoint

SETTING = Setting("digits", "0", 1000, budget=Budget(report_seeds=8))

READERS = {
    "cells": (finished.path_of, (CELL.network,), lambda folder: finished.missing(folder, [CELL])),
    "sweep": (finished.path_of, (CELL.network,), gathered.gather),
    "references": (lambda folder: folder / "mnist.nc", (), report.references),
    "measurements": (
        lambda folder: folder / "networks/merging.nc",
        (),
        report.measurements_of,
    ),
    "measured": (
        lambda folder: folder / "a.nc",
        (),
        lambda folder: measurements.is_done(folder / "a.nc", [CELL]),
    ),
    "comparison": (results.path_of, (SETTING,), results.stored),
    "networks": (results.path_of, (SETTING,), lambda folder: results.load(folder, SETTING)),
}


@pytest.mark.parametrize(("path", "of", "read"), READERS.values(), ids=READERS.keys())
def test_no_reader_follows_a_file_elsewhere(tmp_path, path, of, read):
    (file := path(tmp_path, *of)).parent.mkdir(exist_ok=True)
    with h5py.File(file, "w") as written:
        written.create_dataset("a", (9,), "S1", external=[("/etc/passwd", 0, 9)])
    refused = (ResultsError, UserWarning)  # files in a folder are left out, with a warning
    with pytest.raises(refused, match=r"not a readable netCDF4 file \(a is in another file\)"):
        read(tmp_path)


def configured(text="", **parts):
    """Returns a function that changes the configuration of a sweep to a text, or changes parts of it."""

    def change(found):
        stored = json.loads(found.configuration.values[0]) | parts
        return found.assign(configuration=("cell", [text or json.dumps(stored)]))

    return change


SWEEPS = {
    "nested": (configured("[" * 100_000), "recursion"),
    "a list": (configured("[]"), "not a readable"),
    "no widths": (configured(widths=None), "widths is None"),
    "a text for a number": (configured(widths=["1"]), "widths is '1'"),
    "another variant": (configured(variant="<script>"), "unknown variant '<script>'"),
    "turned": (lambda found: found.transpose(), r"is float64 \[.*cell\]"),
    "the same twice": (lambda found: found.isel(cell=[0, 0]), "tiny-drop more than once"),
    "texts": (lambda found: found.assign(penalty=found.penalty.astype(str)), "penalty is "),
}


@pytest.mark.parametrize(("change", "words"), SWEEPS.values(), ids=SWEEPS.keys())
def test_a_sweep_of_another_form_is_refused(tmp_path, change, words):
    change(made_up.sweep(sizes=("tiny",), variants=("drop",))).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(ResultsError, match=words) as error:
        compact.load(tmp_path / "a.nc")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("attributes", "variables"),
    [
        ({"setting": "[]"}, {}),
        ({"setting": json.dumps({"pool": 3, "rows": 500})}, {}),
        ({}, {"failed": ("run", ["<script>"] * 8)}),
        ({}, {"point": ((), 0)}),
        ({}, {"test_nll": ((), 0.5)}),
        ({}, {"test_nll": ("another", [0.5])}),
        ({}, {"method": ("run", [7] * 8, {"flag_meanings": "vanilla"})}),
        ({}, {"stage": None}),
    ],
)
def test_a_comparison_of_another_form_is_left_out(tmp_path, attributes, variables):
    results.write(tmp_path, SETTING, networks(("vanilla",), 0.1))
    with netcdf.read(path := results.path_of(tmp_path, SETTING)) as stored:
        found = stored.load()
    changed = {name: value for name, value in variables.items() if value is not None}
    found = found.drop_vars(variables).assign(changed).assign_attrs(attributes)
    found.to_netcdf(path, engine="h5netcdf")
    with pytest.warns(UserWarning, match="left out: .* not a readable netCDF4 file"):
        assert results.stored(tmp_path) == []


@pytest.mark.parametrize("name", ["merging", "dropout-law"])
def test_a_measurement_of_another_form_is_refused(tmp_path, name):
    (path := tmp_path / f"networks/{name}.nc").parent.mkdir()
    xr.Dataset(attrs={"configurations": "[]"}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ResultsError, match=f"{path} is not a readable netCDF4 file"):
        report.measurements_of(tmp_path)


def test_a_cell_of_another_form_is_refused(tmp_path):
    with netcdf.read(write(tmp_path)) as stored:
        found = stored.load()
    found.drop_dims("bin").to_netcdf(path := finished.path_of(tmp_path, CELL.network), engine="h5netcdf")
    with pytest.raises(ResultsError, match=f"{path} was not written by a sweep"):
        gathered.gather(tmp_path)
    found.drop_vars("correlation_3").to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ResultsError, match=f"{path} is not a readable netCDF4 file"):
        gathered.gather(tmp_path)


def test_checkpoints_that_nobody_wrote_are_refused(tmp_path):
    with np.load(path := write_checkpoint(tmp_path)) as file:
        arrays = dict(file)
    for change in ({"configuration": np.asarray("[]")}, {"history/penalty": np.zeros(1)}):
        np.savez(path, **arrays | change)
        with pytest.raises(ResultsError, match="not a readable checkpoint"):
            checkpoints.read(tmp_path, BLOCK, DATA)
    path.rename(tmp_path / f"{CELL.name}.seeds-0-99.checkpoint.npz")
    with pytest.raises(ResultsError, match="has seeds above 1, the last"):
        checkpoints.blocks(tmp_path, CELL, 8)


def test_checkpoints_of_other_records_are_refused(tmp_path):
    for name in ("penalty", "validation_nll"):
        records = [{key: value for key, value in record.items() if key != name} for record in history()]
        with pytest.raises(ResultsError, match=f"not a readable checkpoint .*{name}"):
            write(tmp_path, records=records)
        assert not finished.path_of(tmp_path, CELL.network).exists()


def test_names_in_a_file_are_shown_and_nothing_more(tmp_path):
    (folder := tmp_path / "in").mkdir()
    setting = dataclasses.replace(SETTING, pool="<b>")
    results.write(folder, setting, networks(("vanilla", "<script>alert(1)</script>", "dropout"), 0.1))
    text = page.write(folder).read_text()
    assert "<script" not in text and "&lt;b&gt;-1000" in text and "<b>" not in text
    assert [each.name for each in tmp_path.iterdir()] == ["in"]
    assert {each.name for each in (folder / "figures").iterdir()} == {"methods.svg", "methods.png"}


def test_a_message_moves_no_cursor():
    assert first_line(ValueError("name is \x1b[2J\x9b1mé")) == r"name is \x1b[2J\x9b1mé"
