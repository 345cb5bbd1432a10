"""A shared machine: quotas of control groups, and sockets with short paths."""

import multiprocessing
import tempfile
from multiprocessing import forkserver

import pytest

from experiments.run import machine

NESTED = {"a/b/c/cpu.max": "max 100000", "a/b/cpu.max": "350000 100000", "a/cpu.max": "800000 100000"}

QUOTAS = {
    "none": ("0::/a", {"a/cpu.max": "max 100000"}, 16),
    "one core": ("0::/", {"cpu.max": "100000 100000"}, 1),
    "half a core": ("0::/", {"cpu.max": "50000 100000"}, 1),
    "of a group around it": ("0::/a/b/c", NESTED, 4),
    "version 1": (
        "5:memory:/\n4:cpu,cpuacct:/a",
        {"cpu/a/cpu.cfs_quota_us": "150000", "cpu/a/cpu.cfs_period_us": "100000"},
        2,
    ),
    "version 1, none": ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
    "a path outside of the container": ("0::/docker/0123", {"cpu.max": "200000 100000"}, 2),
    "no groups": (None, {}, 16),
}


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Returns a function that makes control groups, from the text of /proc/self/cgroup and files by name."""

    def make(own, files):
        if own is not None:
            (tmp_path / "own").write_text(f"{own}\n")
        for name, text in files.items():
            (path := tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        monkeypatch.setattr(machine, "_GROUP", tmp_path / "own")
        monkeypatch.setattr(machine, "_GROUPS", tmp_path / "fs")
        monkeypatch.setattr(machine, "cores", lambda: list(range(16)))

    return make


@pytest.mark.parametrize(("own", "files", "wanted"), QUOTAS.values(), ids=QUOTAS.keys())
def test_no_more_cores_are_busy_than_the_groups_allow(groups, own, files, wanted):
    groups(own, files)
    assert machine.processors() == wanted


def test_memory_is_the_least_of_all_groups(groups):
    groups("0::/a/b", {"a/memory.max": str(2**20), "a/b/memory.max": "max"})
    assert machine.memory() == 2**20
    groups(
        "9:memory:/a",
        {"memory/a/memory.limit_in_bytes": str(2**19), "memory/memory.limit_in_bytes": "9" * 18},
    )
    assert machine.memory() == 2**19


@pytest.mark.skipif(machine.METHOD != "forkserver", reason="no socket is needed")
def test_processes_begin_under_a_long_tmpdir(tmp_path, monkeypatch):
    (folder := tmp_path / ("x" * 90)).mkdir()
    server = forkserver.ForkServer()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)
    monkeypatch.setattr(forkserver, "ensure_running", server.ensure_running)
    try:
        machine.begin_processes()
        assert tempfile.tempdir == str(folder) and not list(folder.iterdir())
    finally:
        server._stop()


def test_without_a_short_folder_the_error_names_tmpdir():
    with pytest.raises(
        ValueError, match=r"too long for sockets .*set TMPDIR to a name of at most 2 characters$"
    ):
        machine.short_folder(105)
    assert machine.short_folder(1) == tempfile.gettempdir()
