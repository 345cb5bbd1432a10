"""Any number of writers replace a file whole or not at all. Users' folders are found, but not required."""

import fcntl
import gc
import os
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.disk import files, netcdf
from experiments.disk.errors import ResultsError


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "file"
    for content in (b"first, and longer", b"second"):
        files.write_atomically(path, lambda file, content=content: file.write(content))
        assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left on device")])
@pytest.mark.parametrize("stage", ["written", "replaced"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error, stage):
    def fail(*_):
        raise error

    (path := tmp_path / "file").write_bytes(b"old")
    if stage == "replaced":
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        files.write_atomically(path, lambda file: file.write(b"half") and stage == "written" and fail())
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_of_several_writers_all_succeed_and_the_last_wins(tmp_path):
    path, both = tmp_path / "file", threading.Barrier(2, timeout=10)
    first_is_done = threading.Event()
    errors = []

    def write(content, wait):
        def write_to(file):
            both.wait()  # so that two files are open at once
            file.write(content)
            wait()

        try:
            files.write_atomically(path, write_to)
        except Exception as error:
            errors.append(error)

    last = threading.Thread(target=write, args=(b"last", lambda: first_is_done.wait(10)))
    last.start()
    write(b"first", lambda: None)
    assert path.read_bytes() == b"first"
    first_is_done.set()
    last.join()
    assert not errors and path.read_bytes() == b"last" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path):
    (path := tmp_path / "a.nc").write_bytes(b"old")
    results = xr.Dataset({"a": ("x", np.zeros(10_000))})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for write in (
        lambda: netcdf.write(path, results),
        lambda: files.write_atomically(path, lambda file: np.savez(file, a=results.a.values)),
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, limits[1]))
        try:
            with pytest.raises(OSError, match=f"File too large: '{path}'$"):
                write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()  # a file that HDF5 could not close would end the process here
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (large := tmp_path / "large").mkdir()
    (link := tmp_path / "a.nc").symlink_to("large/a.nc")
    for content in (b"first", b"second"):
        files.write_atomically(link, lambda file, content=content: file.write(content))
        assert link.is_symlink() and (large / "a.nc").read_bytes() == content
        assert [*large.iterdir()] == [large / "a.nc"]


def test_a_file_that_another_program_has_open_is_not_called_damaged(tmp_path):
    netcdf.write(path := tmp_path / "a.nc", xr.Dataset({"a": 1}))
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ResultsError, match=f"^{path} is in use by another program: close it and run"):
            netcdf.read(path).__enter__()
    with netcdf.read(path) as found:
        assert found.a == 1


def test_strangers_and_hidden_files_cost_one_warning_at_most(tmp_path):
    def load(path):
        if path.stem == "mine":
            raise ResultsError(f"{path} is not ours")
        return path.read_text()

    for name in ("b.nc", "a.nc", "mine.nc", "._a.nc", "a.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "nowhere.nc").symlink_to("nowhere")
    assert [path.name for path in files.listed(tmp_path, ".nc")] == ["a.nc", "b.nc", "mine.nc"]
    with pytest.warns(UserWarning, match=f"left out: {tmp_path}/mine.nc is not ours$") as warned:
        assert files.load_all(tmp_path, ".nc", load) == {"a": "a.nc", "b": "b.nc"}
    assert len(warned) == 1


def test_what_killed_writers_left_is_removed_by_suffix(tmp_path):
    for name in (".a.nc.01234567.tmp", ".b.npz.89abcdef.tmp", "a.nc", ".hidden"):
        (tmp_path / name).touch()
    files.remove_temporaries(tmp_path, ".nc")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.npz.89abcdef.tmp", ".hidden", "a.nc"]


def test_a_home_that_there_is_not_is_one_line_for_paths_and_no_cache(monkeypatch):
    def no_entry(*_):
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    assert files.cache_dir() is None
    with pytest.raises(ValueError, match=r"^~/x: .*home directory; give the folder itself$"):
        files.expanded("~/x")
    with pytest.raises(ValueError, match=r"^~nobody_of_this_name/x: "):
        files.expanded("~nobody_of_this_name/x")


def test_an_address_is_no_folder():
    for address in ("gs://bucket/sets", Path("gs://bucket/sets"), "https://host"):
        with pytest.raises(ValueError, match=r"is an address: give a folder of this machine$"):
            files.expanded(address)


@pytest.mark.parametrize(
    "given, wanted", [("~/mine", "home/mine"), ("", "home/.cache"), (None, "home/.cache")]
)
def test_the_cache_is_where_xdg_says_else_at_home(tmp_path, monkeypatch, given, wanted):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert files.cache_dir() == tmp_path / wanted / "decorr"
    assert files.expanded(tmp_path) == Path(tmp_path)
