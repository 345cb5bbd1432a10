"""The sweep command, as users call it."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import chex
import filelock
import h5py
import numpy as np
import pytest

from decorr.config import Regulariser
from experiments.data.load import load
from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.grid import networks
from experiments.grid.networks import VARIANT_KINDS, Look, VariantKind
from experiments.grid.protocols import PROTOCOLS
from experiments.page import curves
from experiments.paper.report import write as write_report  # before tests replace it
from experiments.run import machine, processes
from experiments.store import checkpoints, compact, open_sweep
from experiments.store.finished import VARIABLES, parameters
from experiments.store.gathered import gather
from experiments.sweep import Sweep
from tests import made_up

ROOT = Path(__file__).parents[2]
EPOCHS = 4
CHECKPOINTS = "tiny-corr-0.1*.checkpoint.npz"  # one for each block
# Two seeds, each in its own block, and only penalties. So nearly all tests use the same training program.
TINY = ("--sizes", "tiny", "--seeds", "2", "--epochs", str(EPOCHS), "--checkpoint-seconds", "0")


# A sweep killed from outside might already have ended.
DIES_AT_ITS_CHECKPOINT = """
import os, signal
from tests.experiments.trains import sweep

write = sweep.checkpoints.write

def write_and_die(*arguments):
    write(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

sweep.checkpoints.write = write_and_die
sweep.main()
"""


def command(folder, *arguments, module="experiments.sweep"):
    return [sys.executable, "-m", module, "--out", str(folder), *arguments]


def run(*arguments, **options):
    """Runs the command in a new process."""
    return subprocess.run(
        command(*arguments, **options), cwd=ROOT, capture_output=True, text=True, timeout=600
    )


def wait_for(condition):
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def nobody_is_left_of(session):
    """Whether no process is left of a session, given its first process."""
    try:
        os.killpg(session.pid, 0)
    except ProcessLookupError:
        return True
    return False


def assert_one_line_error(done, *parts):
    assert done.returncode == 1
    assert done.stderr.startswith("error:") and done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def assert_same_cell(*folders):
    with contextlib.ExitStack() as stack:
        found, wanted = (stack.enter_context(netcdf.read(each / "tiny-corr-0.1.nc")) for each in folders)
        assert set(found.variables) == set(wanted.variables)
        for name in wanted.variables:
            np.testing.assert_array_equal(found[name].values, wanted[name].values, name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sweep):
    """A folder with the results of two cells, and how the command that made them ended."""
    folder = tmp_path_factory.mktemp("sweep") / "new" / "out"
    return folder, sweep("--out", folder, *TINY, "--variants", "corr-0.1", "corr-1.0")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A folder with the results of a cell, made by a new process, and how this process ended."""
    folder = tmp_path_factory.mktemp("straight") / "new" / "out"
    return folder, run(folder, *TINY, "--variants", "corr-0.1")


@pytest.mark.slow
def test_end_to_end(straight):
    folder, done = straight
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"\[1/2\]  tiny-corr-0.1\S*  epoch {EPOCHS}/{EPOCHS} ", done.stdout), done.stdout
    assert "│ tiny-corr-0.1 │     2 │        0 │" in done.stdout
    assert f"results: {folder.resolve()}/*.nc\n" in done.stdout
    assert f"report: {folder.resolve()}/report.html\n" in done.stdout
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == [
        "figures",
        "report.html",
        "tiny-corr-0.1.nc",
    ]


def test_what_is_stored(finished):
    folder, done = finished
    assert (done.returncode, done.stderr) == (0, "")
    with netcdf.read(folder / "tiny-corr-0.1.nc") as dataset:
        assert dataset.validation_error.shape == (2, EPOCHS)
        assert dataset.correlation_1.shape == (2, 40, 40)
        nll = dataset.train_nll.values
        assert (nll[:, -1] < nll[:, 0]).all()  # the networks learn
        assert (dataset.histogram_minibatch.values > 0).any()
        np.testing.assert_allclose(dataset.histogram_validation.sum("bin"), 1, rtol=1e-5)


def test_a_folder_of_cells_is_one_dataset(finished, tmp_path):
    found = gather(finished[0])
    assert found.cell.values.tolist() == ["tiny-corr-0.1", "tiny-corr-1.0"]
    with netcdf.read(finished[0] / "tiny-corr-1.0.nc") as cell:
        for name in VARIABLES:
            np.testing.assert_allclose(found[name].sel(cell="tiny-corr-1.0"), cell[name], rtol=1e-6)
        np.testing.assert_array_equal(found.correlation.sel(cell="tiny-corr-1.0"), cell.correlation_3[0])
        assert str(found.commit.sel(cell="tiny-corr-1.0").values) == cell.attrs["commit"]
    assert open_sweep(finished[0]).identical(found)
    compact.save(found, tmp_path / "small.nc")
    assert open_sweep(tmp_path / "small.nc").validation_error.identical(found.validation_error)
    assert (tmp_path / "small.nc").stat().st_size < 0.5 * sum(
        p.stat().st_size for p in finished[0].glob("*.nc")
    )
    with pytest.raises(ResultsError, match="holds no results"):
        gather(tmp_path / "empty")


def test_cells_of_two_sweeps_are_no_sweep(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "two")
    with h5py.File(folder / "tiny-corr-0.1.nc", "a") as cell:
        changed = json.loads(cell.attrs["configuration"]) | {"matmul_precision": "tensorfloat32"}
        cell.attrs["configuration"] = json.dumps(changed)
    with pytest.raises(
        ResultsError, match=r"tiny-corr-1.0.nc belongs to another sweep .matmul_precision is float32 th"
    ):
        gather(folder)


def test_what_is_done_is_skipped(finished, sweep, no_devices):
    folder, first = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.nc")}
    again = sweep("--out", folder, *TINY, "--variants", "corr-0.1", "corr-1.0")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("2 of 2 already done, skipped\n")
    assert again.stdout.endswith(first.stdout[first.stdout.index("validation error") :])  # the same table
    assert before and before == {path: path.stat().st_mtime_ns for path in folder.glob("*.nc")}


def test_fewer_seeds_than_are_there_are_reported(finished, sweep, no_devices):
    done = sweep("--out", finished[0], *TINY, "--variants", "corr-0.1", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 of 1 already done, skipped\n")
    assert "│ tiny-corr-0.1 │     1 │" in done.stdout


@pytest.mark.slow
def test_of_more_seeds_only_those_that_are_missing_are_trained(finished, sweep, tmp_path):
    with netcdf.read(finished[0] / "tiny-corr-0.1.nc") as cell:
        both = cell.load()
    of_one = json.dumps(json.loads(both.configuration) | {"seeds": 1})
    first = both.isel(seed=slice(1)).assign_attrs(configuration=of_one)
    first.to_netcdf(tmp_path / "tiny-corr-0.1.nc", engine="h5netcdf")
    done = sweep("--out", tmp_path, *TINY, "--variants", "corr-0.1")
    assert done.returncode == 0, done.stderr
    assert "[1/1]  tiny-corr-0.1.seeds-1-1  epoch" in done.stdout
    with netcdf.read(tmp_path / "tiny-corr-0.1.nc") as cell:
        added_to = cell.load()
    assert added_to.configuration == both.configuration
    assert added_to.isel(seed=slice(1)).equals(first)
    chex.assert_trees_all_close(*(parameters(each)[1] for each in (added_to, both)), atol=0.02)


def test_what_a_killed_writer_left_is_removed(finished, sweep):
    folder, _ = finished
    left = [folder / f".tiny-corr-0.1{kind}.0123abcd.tmp" for kind in (".nc", ".checkpoint.npz")]
    for path in left:
        path.touch()
    sweep("--out", folder, *TINY, "--variants", "corr-0.1", "--plan")
    assert all(path.exists() for path in left)  # another sweep may be writing these files
    sweep("--out", folder, *TINY, "--variants", "corr-0.1")
    assert not any(path.exists() for path in left)


def test_plan(finished, sweep):
    done = sweep("--out", finished[0], *TINY, "--variants", "corr-0.1", "drop", "--plan")
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.split() == ["tiny-corr-0.1", "done"]
    missing = r"tiny-drop +\d networks to train(, \d at a time)?: \d MiB of [\d,]+ MiB on each device"
    assert re.fullmatch(missing, second), second
    assert re.fullmatch(r"about 0:00:\d\d of one core left, plus compilation", last), last


def test_a_plan_of_what_is_done_asks_for_no_device(finished, sweep, no_devices):
    done = sweep("--out", finished[0], *TINY, "--variants", "corr-0.1", "--plan")
    assert done.stdout.split() == ["tiny-corr-0.1", "done"], done.stderr


def test_plan_makes_no_folder_and_cuts_blocks_to_fit(tmp_path, monkeypatch, sweep):
    monkeypatch.setattr(machine, "memory", lambda: 30 * 2**20)
    lines = sweep("--out", tmp_path / "out", "--plan").stdout.splitlines()
    assert "of one core left" in lines.pop()  # from the times of the committed reference run
    assert len(lines) == 20 and all("networks to train" in line for line in lines)
    in_parts = [" at a time: " in line for line in lines]
    assert not any(in_parts[:4]) and all(in_parts[-4:]), lines
    assert not any(tmp_path.iterdir())


def test_what_does_not_fit_is_refused_before_anything_is_trained(tmp_path, monkeypatch, sweep):
    monkeypatch.setattr(machine, "memory", lambda: 2 * 2**20)
    done = sweep("--out", tmp_path, "--sizes", "tiny", "huge", "--seeds", "2")
    words = "huge-vanilla.seeds-0-0 does not fit into memory: it needs", "smaller batch size"
    assert_one_line_error(done, *words)
    assert not list(tmp_path.glob("*.nc"))


@pytest.mark.slow
def test_inputs_are_whitened_where_asked(finished, sweep, tmp_path, monkeypatch):
    arguments, trained = (*TINY, "--variants", "corr-0.1", "--input-scaling", "zca"), []

    def record(training, blocks, dataset, *rest, processes):
        trained.append((blocks, dataset))
        yield from ()

    monkeypatch.setattr(processes, "run", record)
    sweep("--out", tmp_path, *arguments)
    ((blocks, dataset),) = trained
    assert blocks[0].cell.configuration()["protocol"]["input_scaling"] == "zca"
    wanted = load(scaling="zca")
    for found, of in ((dataset.train, wanted.train), (dataset.validation, wanted.validation)):
        np.testing.assert_array_equal(found.batch(...)[0], of.batch(...)[0])
    done = sweep("--out", finished[0], *arguments)
    path = finished[0] / "tiny-corr-0.1.nc"
    assert_one_line_error(done, str(path), "protocol.input_scaling is max there, not zca")


def test_networks_of_two_families_are_not_mixed(finished, sweep):
    folder, _ = finished
    before = {path: path.read_bytes() for path in folder.glob("*.nc")}
    for variant in ("corr-0.1", "drop"):  # the first is in the folder, the second is not
        done = sweep("--out", folder, *TINY, "--variants", variant, "--family", "conv")
        assert_one_line_error(done, str(folder), "protocol.family is mlp there, not conv")
    assert before == {path: path.read_bytes() for path in folder.glob("*.nc")}


@pytest.mark.slow
def test_convolutional_networks_end_to_end(tmp_path, sweep):
    arguments = ("--out", tmp_path, *TINY, "--variants", "corr-0.1", "corr-1.0", "--family", "conv")
    done = sweep(*arguments, "--epochs", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"tiny-corr-1.0\S*  epoch 2/2 ", done.stdout), done.stdout
    assert (
        "convolutional networks: 2 networks, 2 seeds" in write_report(gather(tmp_path), tmp_path).read_text()
    )
    with netcdf.read(tmp_path / "tiny-corr-0.1.nc") as dataset:
        configuration = json.loads(dataset.attrs["configuration"])
        assert configuration["protocol"]["family"] == "conv" and configuration["widths"] == [4, 8, 16]
        assert dataset["hidden_1.kernel"].shape == (2, 3, 3, 1, 4)
        assert dataset.correlation_3.shape == (2, 16, 16)
    again = sweep(*arguments, "--epochs", "2")
    assert again.returncode == 0 and again.stdout.startswith("2 of 2 already done, skipped\n")


def test_where_results_of_a_family_go():
    assert [str(Sweep(dataset="a/b", family=family).folder()) for family in ("mlp", "conv")] == [
        "results/a-b-released",
        "results/a-b-released-conv",
    ]


@pytest.mark.slow
def test_a_killed_sweep_goes_on_bit_for_bit(tmp_path, straight):
    arguments, folder = (*TINY, "--variants", "corr-0.1"), tmp_path
    killed = subprocess.Popen(
        [sys.executable, "-c", DIES_AT_ITS_CHECKPOINT, *command(folder, *arguments)[3:]],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert killed.wait(timeout=600) == -signal.SIGKILL and list(folder.glob(CHECKPOINTS))
    wait_for(lambda: nobody_is_left_of(killed))

    done = run(folder, *arguments, module="tests.experiments.trains")
    assert done.returncode == 0, done.stderr
    assert "from its checkpoint" in done.stdout and not list(folder.glob(CHECKPOINTS))
    assert_same_cell(folder, straight[0])


@pytest.mark.slow
def test_an_interrupted_sweep_says_what_to_do(tmp_path):
    # A process in a shell's background ignores interruptions, and so do the processes that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupted = subprocess.Popen(
        command(tmp_path, *TINY, "--variants", "corr-0.1", "--epochs", "100000"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: list(tmp_path.glob(CHECKPOINTS)) or interrupted.poll() is not None)
    os.killpg(interrupted.pid, signal.SIGINT)  # like a terminal, interrupts its processes too
    _, errors = interrupted.communicate(timeout=600)
    assert errors == "interrupted; run the same command again to continue from the last checkpoint\n"
    assert interrupted.returncode == 1 and list(tmp_path.glob(CHECKPOINTS))
    wait_for(lambda: nobody_is_left_of(interrupted))


def test_an_interrupted_sweep_goes_on_bit_for_bit(finished, tmp_path, sweep, monkeypatch):
    arguments, folder = (*TINY, "--variants", "corr-0.1"), tmp_path / "interrupted"
    write = checkpoints.write

    def interrupted(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", interrupted)
        done = sweep("--out", folder, *arguments)
    message = "interrupted; run the same command again to continue from the last checkpoint\n"
    assert (done.returncode, done.stderr) == (1, message) and list(folder.glob(CHECKPOINTS))
    done = sweep("--out", folder, *arguments)
    assert "from its checkpoint" in done.stdout and not list(folder.glob(CHECKPOINTS)), done.stderr
    assert_same_cell(folder, finished[0])


@pytest.mark.slow
def test_a_table_in_ascii(tmp_path, sweep):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert sweep("--out", tmp_path, *TINY, "--variants", "corr-0.1", output=output).returncode == 0
    output.flush()
    row = rb"\| tiny-corr-0.1 +\| +2 \| +0 (\| +\d\.\d{4} \+- \d\.\d{4} ){2}\|"
    assert re.search(row, output.buffer.getvalue())


@pytest.mark.slow
def test_a_folder_with_other_files_and_colours_forced_into_a_pipe(tmp_path, sweep, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    (folder := tmp_path / "out[run]").mkdir()
    made_up.sweep(sizes=("tiny",)).to_netcdf(folder / "mine.nc", engine="h5netcdf")
    (folder / "notes-on-tiny.nc").write_bytes(b"x")
    done = sweep("--out", folder, *TINY, "--variants", "corr-0.1")
    assert done.returncode == 0, done.stderr
    assert gather(folder).cell.values.tolist() == ["tiny-corr-0.1"]
    assert f"results: {folder}/*.nc\n" in done.stdout  # brackets in a path are printed unchanged
    assert re.search(rf"tiny-corr-0.1\S*  epoch {EPOCHS}/{EPOCHS} ", done.stdout)
    assert not re.search(r"\x1b\[[0-9?]*[A-HJKlh]", done.stdout)  # nothing moves the cursor


@pytest.mark.slow
def test_a_variant_is_one_entry(tmp_path, monkeypatch, sweep):
    """A new kind of variant, with half its number as weight, works everywhere: from parsing to figures."""
    half = VariantKind(
        usage="half-WEIGHT with WEIGHT >= 0",
        regulariser=lambda recipe, weight: Regulariser(penalty_weight=weight / 2),
        valid=lambda weight: weight >= 0,
        looks={1.0: Look("#CC79A7", "--", "v", "-")},
    )
    monkeypatch.setitem(networks.VARIANT_KINDS, "half", half)
    done = sweep("--out", tmp_path, *TINY, "--variants", "half-1", "corr-0.1")
    found = gather(tmp_path)
    assert found.cell.values.tolist() == ["tiny-corr-0.1", "tiny-half-1.0"]
    assert '"penalty_weight": 0.5' in str(found.configuration.values[1])
    assert "tiny-half-1.0" in done.stdout
    (axes,) = curves.learning_curves(found).axes
    assert "HALFNET-1.0" in axes.get_legend_handles_labels()[1]


def test_a_second_sweep_stops(tmp_path, sweep):
    with filelock.FileLock(tmp_path / ".lock"):
        assert_one_line_error(sweep("--out", tmp_path, *TINY), f"another command is at work in {tmp_path}")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--variants foo", "unknown variant 'foo'"),
        ("--variants drop drop", "given only once"),
        ("--seeds 0", "seeds must be at least 1; got 0"),
        ("--epochs 0", "epochs must be at least 1; got 0"),
        ("--learning-rate nan", "learning rate must be at least 0; got nan"),
        ("--optimiser adamw", "--optimiser adamw needs --learning-rate"),
        ("--batch-size 1", "batch size must be at least 2; got 1"),
        ("--batch-size 5000", "batch size 5000 exceeds the 250 validation samples"),
        ("--dataset no_such_set", "no_such_set"),
        ("--dataset wine", "'wine' is a table; images are needed here"),
        ("--dataset digts", "digts not found; did you mean 'digits'?"),
        (
            "--protocol relased",
            "unknown protocol 'relased' (did you mean 'released'?): choose from released, paper, released-d",
        ),
        ("--family conv --width-order ascending", "ascending is an ablation of the family mlp"),
        ("--address localhost:1", "--address needs --executor ray"),
        ("--executor ray --address localhost", "--address must be HOST:PORT; got 'localhost'"),
        ("--executor ray --address localhost:1", "no Ray cluster answers at localhost:1"),
    ],
)
def test_bad_options_are_one_line(tmp_path, sweep, arguments, reason):
    assert_one_line_error(sweep("--out", tmp_path, *arguments.split()), reason)
    assert not list(tmp_path.glob("*.nc"))


def test_an_unknown_size_is_refused(tmp_path, sweep):
    done = sweep("--out", tmp_path, "--sizes", "gigantic")
    assert done.returncode == 2
    assert "gigantic" in done.stderr and not any(tmp_path.iterdir())


def test_help(tmp_path, sweep):
    done = sweep("--out", tmp_path, "--help")
    assert done.returncode == 0 and "--checkpoint-seconds" in done.stdout
    assert set(VARIANT_KINDS) <= set(re.findall(r"\w+", done.stdout)) and "default: None" not in done.stdout


def test_the_readme_names_every_kind_of_variant_and_every_protocol():
    named = set(re.findall(r"`([\w-]+)", (ROOT / "experiments" / "README.md").read_text()))
    assert set(VARIANT_KINDS) <= {name.removesuffix("-WEIGHT") for name in named}
    steps = {name: re.sub("^(ablation|released-without)-", "", name) for name in PROTOCOLS}
    assert [name for name, step in steps.items() if not {name, step} & named] == []
