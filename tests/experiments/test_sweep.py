"""The sweep command, as users call it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import chex
import filelock
import numpy as np
import pytest

from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.grid.networks import VARIANT_KINDS
from experiments.grid.protocols import PROTOCOLS
from experiments.run import memory
from experiments.store import compact
from experiments.store.finished import VARIABLES, parameters
from experiments.store.gathered import gather
from experiments.sweep import Sweep, main

ROOT = Path(__file__).parents[2]
EPOCHS = 60
CHECKPOINTS = "tiny-vanilla*.checkpoint.npz"  # of as many blocks as there are processes
TINY = ("--sizes", "tiny", "--seeds", "3", "--epochs", str(EPOCHS), "--checkpoint-seconds", "0")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Environment in which the commands share what they compile."""
    folder = tmp_path_factory.mktemp("compiled")
    return {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


# Killed from outside, it might have ended before.
DIES_AT_ITS_CHECKPOINT = """
import os, signal
from experiments import sweep

write = sweep.checkpoints.write

def write_and_die(*arguments):
    write(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

sweep.checkpoints.write = write_and_die
sweep.main()
"""


def command(folder, *arguments):
    return [sys.executable, "-m", "experiments.sweep", "--out", str(folder), *arguments]


def sweep(folder, *arguments, **environment):
    return subprocess.run(
        command(folder, *arguments),
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def nobody_is_left_of(session):
    """Whether all processes of one are gone, which was the first of its session."""
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


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """What the command, run in this process, says last; a text, which Python prints, and exits with 1."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", command(tmp_path, *arguments)[2:])
        with pytest.raises(SystemExit) as exit:
            main()
        assert exit.value.code.startswith("error:") and "\n" not in exit.value.code
        assert not list(tmp_path.glob("*.nc"))
        return exit.value.code

    return call


@pytest.fixture(scope="module")
def finished(tmp_path_factory, compiled):
    """A folder with the results of two cells, and how the command that made them ended."""
    folder = tmp_path_factory.mktemp("sweep") / "new" / "out"
    return folder, sweep(folder, *TINY, "--variants", "vanilla", "corr-0.1", **compiled)


def test_end_to_end(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(rf"\[1/\d\]  tiny-vanilla\S*  epoch {EPOCHS}/{EPOCHS} ", done.stdout), done.stdout
    assert "│ tiny-corr-0.1 │     3 │        0 │" in done.stdout
    assert f"results: {folder.resolve()}/*.nc\n" in done.stdout
    assert f"report: {folder.resolve()}/report.html\n" in done.stdout
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == [
        "agreement.md",
        "figures",
        "report.html",
        "tiny-corr-0.1.nc",
        "tiny-vanilla.nc",
        "verdicts.md",
    ]
    with netcdf.read(folder / "tiny-vanilla.nc") as dataset:
        assert dataset.validation_error.shape == (3, EPOCHS)
        assert dataset.correlation_1.shape == (3, 40, 40)
        nll = dataset.train_nll.values
        assert (nll[:, -1] < nll[:, 0]).all()  # it learns
        assert (dataset.histogram_minibatch.values > 0).any()
        np.testing.assert_allclose(dataset.histogram_validation.sum("bin"), 1, rtol=1e-5)


def test_a_folder_of_cells_is_one_dataset(finished, tmp_path):
    sweep = gather(finished[0])
    assert sweep.cell.values.tolist() == ["tiny-vanilla", "tiny-corr-0.1"]
    with netcdf.read(finished[0] / "tiny-corr-0.1.nc") as cell:
        for name in VARIABLES:
            np.testing.assert_array_equal(sweep[name].sel(cell="tiny-corr-0.1"), cell[name])
        np.testing.assert_array_equal(sweep.correlation.sel(cell="tiny-corr-0.1"), cell.correlation_3[0])
        assert str(sweep.commit.sel(cell="tiny-corr-0.1").values) == cell.attrs["commit"]
    compact.save(sweep, tmp_path / "small.nc")
    assert (tmp_path / "small.nc").stat().st_size < 0.5 * sum(
        p.stat().st_size for p in finished[0].glob("*.nc")
    )
    with pytest.raises(ResultsError, match="holds no results"):
        gather(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("seeds", 2, "seeds is 3 there, not 2"), ("dataset", "mnist", "dataset is digits there, not mnist")],
)
def test_cells_of_two_sweeps_are_no_sweep(finished, tmp_path, name, value, said):
    for path in finished[0].glob("*.nc"):
        with netcdf.read(path) as cell:
            changed = json.loads(cell.attrs["configuration"]) | ({name: value} if "corr" in path.name else {})
            cell.attrs["configuration"] = json.dumps(changed)
            cell.to_netcdf(tmp_path / path.name, engine="h5netcdf")
    with pytest.raises(ResultsError, match=f"tiny-vanilla.nc is of another sweep .{said}"):
        gather(tmp_path)


def test_what_is_done_is_skipped(finished):
    folder, first = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.nc")}
    # No backend could be started: nothing is trained.
    again = sweep(folder, *TINY, "--variants", "vanilla", "corr-0.1", JAX_PLATFORMS="no_such")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("2 of 2 already done, skipped\n")
    assert again.stdout.endswith(first.stdout[first.stdout.index("validation error") :])  # the same table
    assert before and before == {path: path.stat().st_mtime_ns for path in folder.glob("*.nc")}


def test_of_more_seeds_only_those_that_are_missing_are_trained(finished, compiled, tmp_path):
    with netcdf.read(finished[0] / "tiny-vanilla.nc") as cell:
        all_three = cell.load()
    of_two = json.dumps(json.loads(all_three.configuration) | {"seeds": 2})
    two = all_three.isel(seed=slice(2)).assign_attrs(configuration=of_two)
    two.to_netcdf(tmp_path / "tiny-vanilla.nc", engine="h5netcdf")
    done = sweep(tmp_path, *TINY, "--variants", "vanilla", **compiled)
    assert done.returncode == 0, done.stderr
    assert "[1/1]  tiny-vanilla.seeds-2-2  epoch" in done.stdout
    with netcdf.read(tmp_path / "tiny-vanilla.nc") as cell:
        added_to = cell.load()
    assert added_to.configuration == all_three.configuration
    assert added_to.isel(seed=slice(2)).equals(two)
    # Trained alone it rounds in another order.
    chex.assert_trees_all_close(*(parameters(each)[2] for each in (added_to, all_three)), atol=0.02)


def test_what_a_killed_writer_left_is_removed(finished):
    folder, _ = finished
    left = [folder / f".tiny-vanilla{kind}.0123abcd.tmp" for kind in (".nc", ".checkpoint.npz")]
    for path in left:
        path.touch()
    sweep(folder, *TINY, "--variants", "vanilla", "--plan")
    assert all(path.exists() for path in left)  # another sweep may be writing it
    sweep(folder, *TINY, "--variants", "vanilla")
    assert not any(path.exists() for path in left)


def test_plan(finished):
    folder, _ = finished
    done = sweep(folder, *TINY, "--variants", "vanilla", "drop", "--plan", JAX_NUM_CPU_DEVICES="1")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.split() == ["tiny-vanilla", "done"]
    missing = r"tiny-drop            missing    \d x \d runs, \d MiB of [\d,]+ MiB on each device"
    assert re.fullmatch(missing, second), second
    # Nothing to train, no device asked for.
    done = sweep(folder, *TINY, "--variants", "vanilla", "--plan", JAX_PLATFORMS="no_such")
    assert done.stdout.split() == ["tiny-vanilla", "done"], done.stderr


def test_plan_makes_no_folder_and_cuts_blocks_to_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "_machine", lambda: 30 * 2**20)
    monkeypatch.setattr(sys, "argv", command(tmp_path / "out", "--plan")[2:])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20 and all("missing" in line for line in lines)
    blocks = [int(line.split()[2]) for line in lines]
    assert set(blocks[:4]) == {1} and min(blocks[-4:]) > 1, blocks
    assert not any(tmp_path.iterdir())


def test_what_does_not_fit_is_refused_before_anything_is_trained(refused, monkeypatch):
    monkeypatch.setattr(memory, "_machine", lambda: 2 * 2**20)
    error = refused("--sizes", "tiny", "huge", "--seeds", "2")
    assert "huge-vanilla.seeds-0-0 does not fit: its 1 runs take" in error and "smaller batch size" in error


def test_results_of_other_options_are_kept(finished):
    folder, _ = finished
    path = folder / "tiny-vanilla.nc"
    before = path.read_bytes()
    done = sweep(folder, *TINY, "--variants", "vanilla", "--epochs", "61")
    assert_one_line_error(done, str(path), f"protocol.epochs is {EPOCHS} there, not 61")
    assert path.read_bytes() == before


def test_inputs_are_whitened_where_asked(finished, compiled, tmp_path):
    whitened = (*TINY, "--variants", "vanilla", "--epochs", "2", "--input-scaling", "zca")
    done = sweep(tmp_path, *whitened, JAX_NUM_CPU_DEVICES="1", **compiled)  # it compiles once
    assert (done.returncode, done.stderr) == (0, "")
    path = finished[0] / "tiny-vanilla.nc"
    with netcdf.read(tmp_path / "tiny-vanilla.nc") as dataset, netcdf.read(path) as of_max:
        assert json.loads(dataset.attrs["configuration"])["protocol"]["input_scaling"] == "zca"
        nll = dataset.train_nll.values
        assert (nll[:, 1] < nll[:, 0]).all() and (nll[:, 1] < of_max.train_nll[:, 1]).all()
    done = sweep(finished[0], *whitened, "--epochs", str(EPOCHS))
    assert_one_line_error(done, str(path), "protocol.input_scaling is max there, not zca")


def test_networks_of_two_families_are_not_mixed(finished):
    folder, _ = finished
    before = {path: path.read_bytes() for path in folder.glob("*.nc")}
    for variant in ("vanilla", "drop"):  # one that is there, and one that is not
        done = sweep(folder, *TINY, "--variants", variant, "--family", "conv")
        assert_one_line_error(done, str(folder), "protocol.family is mlp there, not conv")
    assert before == {path: path.read_bytes() for path in folder.glob("*.nc")}


@pytest.mark.slow
def test_convolutional_networks_end_to_end(compiled, tmp_path):
    arguments = (*TINY, "--variants", "vanilla", "corr-1.0", "--family", "conv", "--epochs", "2")
    done = sweep(tmp_path, *arguments, JAX_NUM_CPU_DEVICES="1", **compiled)  # it compiles once
    assert done.returncode == 0, done.stderr
    assert re.search(r"tiny-corr-1.0\S*  epoch 2/2 ", done.stdout) and done.stderr == "", done.stdout
    assert "convolutional networks: 3 seeds" in (tmp_path / "report.html").read_text()
    with netcdf.read(tmp_path / "tiny-vanilla.nc") as dataset:
        configuration = json.loads(dataset.attrs["configuration"])
        assert configuration["protocol"]["family"] == "conv" and configuration["widths"] == [4, 8, 16]
        assert dataset["hidden_1.kernel"].shape == (3, 3, 3, 1, 4)
        assert dataset.correlation_3.shape == (3, 16, 16)
    again = sweep(tmp_path, *arguments, JAX_PLATFORMS="no_such")
    assert again.returncode == 0 and again.stdout.startswith("2 of 2 already done, skipped\n")


def test_where_results_of_a_family_go():
    assert [str(Sweep(dataset="a/b", family=family).folder()) for family in ("mlp", "conv")] == [
        "results/a-b-released",
        "results/a-b-released-conv",
    ]


@pytest.mark.slow
def test_a_killed_sweep_goes_on_bit_for_bit(finished, compiled, tmp_path):
    arguments = (*TINY, "--variants", "vanilla")
    killed = subprocess.Popen(
        [sys.executable, "-c", DIES_AT_ITS_CHECKPOINT, *command(tmp_path, *arguments)[3:]],
        cwd=ROOT,
        env=os.environ | compiled,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert killed.wait(timeout=120) == -signal.SIGKILL and list(tmp_path.glob(CHECKPOINTS))
    wait_for(lambda: nobody_is_left_of(killed))

    done = sweep(tmp_path, *arguments, **compiled)
    assert done.returncode == 0, done.stderr
    assert "from its checkpoint" in done.stdout and not list(tmp_path.glob(CHECKPOINTS))
    with (
        netcdf.read(tmp_path / "tiny-vanilla.nc") as resumed,
        netcdf.read(finished[0] / "tiny-vanilla.nc") as straight,
    ):
        assert set(resumed.variables) == set(straight.variables)
        for name in straight.variables:
            np.testing.assert_array_equal(resumed[name].values, straight[name].values, name)


def test_an_interrupted_sweep_says_what_to_do(compiled, tmp_path):
    # What runs in a shell's background ignores interruptions, and so would what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupted = subprocess.Popen(
        command(tmp_path, *TINY, "--variants", "vanilla", "--epochs", "100000"),
        cwd=ROOT,
        env=os.environ | compiled,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: list(tmp_path.glob(CHECKPOINTS)) or interrupted.poll() is not None)
    os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does: its processes too
    _, errors = interrupted.communicate(timeout=60)
    assert errors == "interrupted; the same command goes on from the last checkpoint\n"
    assert interrupted.returncode == 1 and list(tmp_path.glob(CHECKPOINTS))
    wait_for(lambda: nobody_is_left_of(interrupted))


def test_a_second_sweep_stops(tmp_path):
    with filelock.FileLock(tmp_path / ".lock"):
        assert_one_line_error(sweep(tmp_path, *TINY), f"another command is at work in {tmp_path}")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--variants foo", "unknown variant 'foo'"),
        ("--variants drop-1.5", "unknown variant 'drop-1.5'"),
        ("--variants drop drop", "given once"),
        ("--seeds 0", "seeds must be at least 1; got 0"),
        ("--epochs 0", "epochs must be at least 1; got 0"),
        ("--batch-size 1", "batch size must be at least 2; got 1"),
        ("--batch-size 5000", "batch size 5000 exceeds the 250 validation samples"),
        ("--dataset no_such_set", "no_such_set"),
        (
            "--protocol no_such",
            "unknown protocol 'no_such'; the protocols are released, paper, released-decay, abl",
        ),
        ("--family conv --width-order ascending", "ascending is an ablation of the family mlp"),
        ("--address localhost:1", "give --executor ray with it"),
        ("--executor ray --address localhost", "--address must be HOST:PORT; got 'localhost'"),
        ("--executor ray --address localhost:1", "no Ray cluster answers at localhost:1"),
    ],
)
def test_bad_options_are_one_line(refused, arguments, reason):
    assert reason in refused(*arguments.split())


def test_an_unknown_size_is_refused(tmp_path):
    done = sweep(tmp_path, "--sizes", "gigantic")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "gigantic" in done.stderr and not any(tmp_path.iterdir())


def test_help(tmp_path):
    done = sweep(tmp_path, "--help", JAX_PLATFORMS="no_such")
    assert done.returncode == 0 and "--checkpoint-seconds" in done.stdout
    assert set(VARIANT_KINDS) <= set(re.findall(r"\w+", done.stdout))


def test_the_readme_names_every_kind_of_variant_and_every_protocol():
    named = set(re.findall(r"`([\w-]+)", (ROOT / "experiments" / "README.md").read_text()))
    assert set(VARIANT_KINDS) <= {name.removesuffix("-WEIGHT") for name in named}
    steps = {name: re.sub("^(ablation|released-without)-", "", name) for name in PROTOCOLS}
    assert [name for name, step in steps.items() if not {name, step} & named] == []
