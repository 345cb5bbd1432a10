"""Sweeps on a Ray cluster: with several nodes, one of which dies; without a cluster; and with errors."""

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.comparison.planned import PLAIN
from experiments.comparison.settings import Budget, Setting, Work
from experiments.comparison.training import TRAINING
from experiments.data import load as data
from experiments.data.load import load_pool
from experiments.disk import netcdf
from experiments.grid.cells import Block, Cell
from experiments.grid.networks import Recipe, Variant
from experiments.run import cluster, epochs, local

# JAX runs in this process. Ray forks it only to start other programs.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")]

ROOT = Path(__file__).parents[3]
EPOCHS = 150
OPTIONS = (
    "--sizes",
    "tiny",
    "--variants",
    "corr-0.1",
    "corr-1.0",
    "--seeds",
    "3",
    "--checkpoint-seconds",
    "0",
)
# 127.0.0.1 would not do: Ray's driver replaces it by the machine's outside address.
NODE = {"node_ip_address": "127.0.0.2", "include_dashboard": False}


def command(folder, *arguments):
    return [sys.executable, "-m", "tests.experiments.trains", *OPTIONS, "--out", str(folder), *arguments]


@pytest.fixture
def ray():
    """A Ray cluster of a head node without cores, which trains nothing. Tests add other nodes."""
    from ray.cluster_utils import Cluster  # importing it takes longer than most tests

    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def test_a_node_dies_and_the_sweep_completes(ray, tmp_path):
    victim = ray.add_node(num_cpus=1, **NODE)
    epochs = ("--epochs", str(EPOCHS))
    sweep = subprocess.Popen(
        command(tmp_path / "ray", *epochs, "--executor", "ray", "--address", ray.address),
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "no_such"},  # the driver runs nothing on JAX
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("ray/*.checkpoint.npz")):
        assert sweep.poll() is None, sweep.communicate()
        assert time.monotonic() < deadline, "nothing was trained"
        time.sleep(0.01)
    # So far the victim is the only node that trains: it is busy with one block, and the other block waits.
    ray.remove_node(victim, allow_graceful=False)
    ray.add_node(num_cpus=1, **NODE)
    output, errors = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, errors
    assert "restarted" in output

    # Trains on this machine, with as many devices as a task has.
    alone = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    subprocess.run(command(tmp_path / "local", *epochs), cwd=ROOT, env=alone, check=True, capture_output=True)
    for name in ("tiny-corr-0.1.nc", "tiny-corr-1.0.nc"):
        with (
            netcdf.read(tmp_path / "ray" / name) as found,
            netcdf.read(tmp_path / "local" / name) as wanted,
        ):
            assert found.devices == wanted.devices
            assert set(found.variables) == set(wanted.variables)
            for variable in wanted.variables:
                np.testing.assert_array_equal(found[variable].values, wanted[variable].values, variable)
    assert not list(tmp_path.glob("ray/*.checkpoint.npz"))


@pytest.fixture(scope="module")
def resources():
    """Starts Ray on this machine, and yields the resources of a task."""
    with cluster.connect(None) as found:
        yield found


def test_without_an_address_ray_starts_here(resources, monkeypatch, sweep, tmp_path):
    asked = []
    monkeypatch.setattr(cluster, "connect", lambda address: asked.append(address) or nullcontext(resources))
    done = sweep("--out", tmp_path, *OPTIONS, "--epochs", "1", "--executor", "ray")
    assert (done.returncode, done.stderr, asked) == (0, "", [None])
    assert {path.name for path in tmp_path.glob("*.nc")} == {"tiny-corr-0.1.nc", "tiny-corr-1.0.nc"}


def test_an_error_in_a_task_ends_the_sweep(resources):
    assert resources == {"num_cpus": 1}
    block = Block(Cell("digits", "tiny", Variant("vanilla"), 1, Recipe()), 0, 0)
    events = cluster.run(epochs.TRAINING, [block], data.load(), lambda _: "nonsense", 0, resources=resources)
    with pytest.raises(RuntimeError, match="tiny-vanilla: AttributeError"):
        next(events)


def test_methods_of_a_comparison_are_tasks_too(resources):
    pool = load_pool("wine")
    plain, budget = replace(PLAIN, steps=5), Budget(points=2, finalists=1, more_seeds=1, report_seeds=2)
    work = Work(Setting("wine", pool.identity, 142, plain, budget), "dropout")
    *_, (_, wanted) = [event[1:] for event in local.run(TRAINING, [work], pool, lambda _: None, 0)]
    events = list(cluster.run(TRAINING, [work], pool, lambda _: None, 0, resources=resources))
    assert [done for _, done, _ in events] == [0, 1, 2, 3, 4, 5]
    (last,) = events[-1][2]
    assert last["test_nll"] == pytest.approx(wanted[0]["test_nll"], rel=1e-5)
