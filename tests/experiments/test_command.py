"""Commands on machines where something usual, such as git or a home folder, is missing or different."""

import functools
import importlib
import io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import rich.console

from experiments import command
from experiments import sweep as command_sweep
from experiments.benchmark import __main__ as benchmark
from experiments.disk.errors import ResultsError
from experiments.page import curves, drawing, summary
from experiments.store import finished, provenance
from experiments.store.gathered import gather
from tests import made_up
from tests.experiments.conftest import called

ROOT = Path(__file__).parents[2]
ONE = ("--sizes", "tiny", "--variants", "corr-0.1", "--seeds", "2", "--epochs", "1")


def run(folder, **environment):
    """Runs a sweep of one cell in a new process."""
    return subprocess.run(
        [sys.executable, "-m", "tests.experiments.trains", *ONE, "--out", str(folder)],
        cwd=ROOT,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"} | environment,  # so that it compiles only once
        capture_output=True,
        text=True,
        timeout=6000,
    )


SETTINGS = {
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_ENABLE_X64": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
}


@pytest.mark.slow
def test_settings_of_jax_decide_no_result(tmp_path):
    """Changes all settings at once. If together they change no result, none of them does."""
    for name, settings in (("plain", {}), ("set", SETTINGS)):
        done = run(tmp_path / name, **settings)
        assert done.returncode == 0, done.stderr
    plain, found = gather(tmp_path / "plain"), gather(tmp_path / "set")
    for name in finished.VARIABLES:
        np.testing.assert_array_equal(found[name], plain[name], name)
        assert found[name].dtype == plain[name].dtype


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.current()["commit"] == "unknown"


def test_somebody_elses_repository_is_not_this_codes(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "site")
    assert provenance.current()["commit"] == "unknown"


def test_home_in_a_path_of_a_command(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["sweep", "--out", "~/d", "--data-dir", "~/t"])
    options = command.parse(command_sweep.Sweep, "sweep")
    assert (options.out, options.data_dir) == (tmp_path / "d", "~/t")  # `load` expands it


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def refused(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "tiny-corr-0.1.nc").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refused)
    message = r"tiny-corr-0.1.nc cannot be read by this user .*Permission denied$"
    with pytest.raises(ResultsError, match=message):
        gather(tmp_path)


@pytest.mark.slow
def test_the_users_matplotlibrc_does_not_decide_the_figures(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: red\nfont.size: 30\n")
    one = made_up.sweep(sizes=("tiny",), variants=("corr-0.1",))
    with matplotlib.rc_context(fname=tmp_path / "matplotlibrc"):
        picture = drawing.picture(tmp_path, "it", "", functools.partial(curves.learning_curves, one))
    assert "<svg" in picture.svg and "ff0000" not in picture.svg


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("compare", ["--out"]),
        ("compare", ["--plan", "--out"]),
        ("sweep", ["--out"]),
        ("sweep", ["--plan", "--out"]),
        ("report", ["--reference", "--out"]),
        ("reproduce", ["--only", "mnist", "--out"]),
        ("reproduce", ["--only", "mnist", "--results"]),
        ("reproduce", ["--only", "mnist", "--comparison"]),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_file_in_place_of_a_folder_is_one_line(tmp_path, name, arguments, inside):
    (file := tmp_path / "file").write_text("mine")
    module = importlib.import_module(f"experiments.{name}")
    done = called(module.main, *arguments, file / "folder" if inside else file)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {file} is not a folder: give a folder\n" and file.read_text() == "mine"


def test_the_benchmark_wants_a_file(tmp_path):
    (tmp_path / "file").touch()
    for out, message in (
        (tmp_path, "is a folder: give a file"),
        (tmp_path / "file" / "a.json", "is not a folder"),
    ):
        with pytest.raises(ValueError, match=message):
            benchmark.run(benchmark.Benchmark(out=out), rich.console.Console())


def test_a_warning_is_one_line():
    with command.explained():
        assert (
            warnings.formatwarning(UserWarning("left out:\na"), UserWarning, "f", 1) == "warning: left out:\n"
        )
    assert warnings.formatwarning(UserWarning("a"), UserWarning, "f", 1, "") != "warning: a\n"


def test_a_closed_output_is_no_error(tmp_path, sweep):
    done = sweep("--out", tmp_path, *ONE, "--plan", output=None)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_platform_without_a_device_is_one_line():
    code = "from experiments import command; from experiments.run import host\n"
    code += "with command.explained(): host.devices()"
    environment = os.environ | {"JAX_PLATFORMS": "cuda"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 1
    message = r"error: JAX finds no device of cuda \(JAX_PLATFORMS\): .+\n"
    assert re.fullmatch(message, done.stderr), done.stderr


def test_a_terminal_that_cannot_draw_gets_lines(monkeypatch):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "dumb")
    assert not command.is_live(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert command.is_live(Terminal())


@pytest.mark.parametrize("width", [40, 80, 300])
def test_names_and_numbers_are_whole_at_any_width(width):
    console = rich.console.Console(width=width, record=True, file=io.StringIO())
    summary.show(made_up.sweep(sizes=("medium",)), 2, console)
    text = console.export_text()
    assert "medium-corr-0.1" in text and "…" not in text
    assert len(re.findall(r"0\.\d{4} ± 0\.\d{4}", text)) == 4 * 5 and "effective units" in text
    assert ("│" in text) == (width == 300)
