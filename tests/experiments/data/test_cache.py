"""The cache of decoded sets is used; rebuilt if it is damaged or of another set; and not required."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.data import cache
from experiments.data import load as data
from tests.experiments.data.made_up_set import assert_same, pixels, prepare


@pytest.fixture
def no_decoding(monkeypatch):
    """Returns a function that forbids decoding from its call on."""

    def forbid():
        def decode(*_):
            raise AssertionError("decoded again")

        monkeypatch.setattr(cache, "decode", decode)

    return forbid


def test_second_load_reads_the_cache(folders, no_decoding):
    prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    no_decoding()
    assert_same(data.load("tiny", **folders), first)
    (cached,) = folders["cache_dir"].iterdir()
    assert cached.name.startswith("tiny-1.2.3-") and cached.suffix == ".npz"


def pickles() -> bytes:
    """Returns a file of pickled arrays. To read them, np.load would run code from the file."""
    file = io.BytesIO()
    keys = [f"{split}_{part}" for split in ("train", "test") for part in ("images", "labels")]
    np.savez(file, **{key: np.zeros(30, object) for key in keys})
    return file.getvalue()


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "garbage": lambda content: b"not an archive" * 100,
    "pickle": lambda content: pickles(),
    "one bit": lambda content: content[:400] + bytes([content[400] ^ 1]) + content[401:],
    "a lost array": lambda content: content.replace(b"train_images", b"train_imagos"),
}


def test_damaged_cache_is_rebuilt(folders):
    prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    (cached,) = folders["cache_dir"].iterdir()
    content = cached.read_bytes()
    for name, damage in DAMAGE.items():
        cached.write_bytes(damage(content))
        assert cached.read_bytes() != content, name
        assert_same(data.load("tiny", **folders), first)
        assert cached.read_bytes() == content, name


def test_changed_records_are_decoded_anew(folders):
    folder = prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    shutil.rmtree(folder)
    # Changes one pixel of one image. The sizes of the files stay the same, so only their contents differ.
    prepare(folders["data_dir"], image=lambda s, k: pixels(s, k) ^ np.uint8(k == 0))
    assert {file.name: file.stat().st_size for file in folder.iterdir()} == sizes
    second = data.load("tiny", **folders)
    assert (first.train.images != second.train.images).any()
    assert first.version == second.version and first.identity != second.identity


def test_cache_that_cannot_be_written_costs_a_warning(folders, tmp_path):
    prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    (tmp_path / "file").touch()
    folders["cache_dir"] = tmp_path / "file" / "cache"
    with pytest.warns(UserWarning, match="'tiny' could not be cached") as warned:
        second = data.load("tiny", **folders)
    assert len(warned) == 1 and warned[0].filename == __file__
    assert_same(second, first)


def test_interrupted_write_leaves_nothing(folders, monkeypatch):
    def replace(*_):
        raise KeyboardInterrupt

    prepare(folders["data_dir"])
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        data.load("tiny", **folders)
    assert list(folders["cache_dir"].iterdir()) == []


def test_default_cache_folder(folders, tmp_path, monkeypatch):
    prepare(folders["data_dir"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    data.load("tiny", data_dir=folders["data_dir"])
    assert len(list((tmp_path / "mine" / "decorr").glob("tiny-*.npz"))) == 1


def test_another_cache_is_not_taken_for_ones_own(folders):
    prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    (cached,) = folders["cache_dir"].iterdir()
    with np.load(cached) as file:
        arrays = dict(file)
    for wrong in (
        {"train_images": arrays["train_images"][:, 1:]},
        {"train_labels": arrays["train_labels"] * 1.0},
        {"train_labels": arrays["train_labels"] + 100},
        {name: array[:20] for name, array in arrays.items() if name.startswith("train")},
        {name: array[:0] for name, array in arrays.items()},
    ):
        np.savez(cached, **arrays | wrong)
        assert_same(data.load("tiny", **folders), first)


def test_without_a_home_nothing_is_cached(folders, monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    prepare(folders["data_dir"])
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.expanduser", no_home)
    assert data.load().train.images.shape == (1250, 64)
    monkeypatch.setattr("experiments.disk.files.expanded", Path)
    monkeypatch.setattr("experiments.disk.files.cache_dir", lambda: None)
    with pytest.warns(UserWarning, match="'tiny' is not cached: there is no home folder") as warned:
        assert len(data.load("tiny", data_dir=folders["data_dir"]).train.labels) == 25
    assert len(warned) == 1 and warned[0].filename == __file__


def test_a_cache_that_may_not_be_read_is_made_anew(folders, no_decoding, monkeypatch):
    prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    opened = Path.open

    def refused(path, *arguments, **named):
        if path.suffix == ".npz":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refused)
    assert_same(data.load("tiny", **folders), first)
