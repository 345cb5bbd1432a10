"""TFDS sets are read in stored order without TensorFlow, and prepared with it. Other sets raise errors."""

import builtins
import hashlib
import io
import json
import os
import socket
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from experiments.data import load as data
from experiments.data import tfds
from tests.experiments.data.made_up_set import (
    CLASSES,
    SHAPE,
    assert_same,
    one_line,
    pixels,
    prepare,
    tiny_builder,
)

INSTALL = 'pip install -e ".[prepare]" in the clone'


def test_tfds_set_comes_in_stored_order(folders, caplog):
    prepare(folders["data_dir"])
    tiny = data.load("tiny", **folders)
    assert tiny[:4] == ("tiny", "1.2.3", CLASSES, SHAPE)

    def stored(split, size):  # TFDS sorts by the MD5 hash of split name and key.
        return sorted(range(size), key=lambda k: hashlib.md5(f"{split}{k}".encode()).digest())

    train, test = stored("train", 30), stored("test", 7)
    expected = {
        "train": ("train", train[:25]),
        "validation": ("train", train[25:]),
        "test": ("test", test),
    }
    for part, (split, keys) in expected.items():
        found = getattr(tiny, part)
        images = np.stack([pixels(split, key).ravel() for key in keys])
        np.testing.assert_array_equal(found.images, images)
        np.testing.assert_array_equal(found.labels, [key % CLASSES for key in keys])
        assert (found.images.dtype, found.labels.dtype) == (np.uint8, np.int32)
        largest = max(pixels("train", key).max() for key in train[:25])
        assert (found.offset, found.scale) == (0, largest)
    assert find_spec("cv2") is None and not caplog.records  # otherwise TFDS would warn that OpenCV is missing


def test_records_are_decoded_in_chunks(folders, monkeypatch):
    prepare(folders["data_dir"])
    whole = data.load("tiny", **folders)
    monkeypatch.setattr(tfds, "_CHUNK", 8)
    folders["cache_dir"] = folders["cache_dir"] / "other"
    assert_same(data.load("tiny", **folders), whole)


def test_set_without_test_split(folders):
    prepare(folders["data_dir"], test=0)
    tiny = data.load("tiny", **folders)
    assert tiny.test is None and len(tiny.train.labels) == 25


UNUSABLE = {
    "no training": ({"train": 0}, ValueError, "no split 'train', only ['test']"),
    "equal pixels": ({"image": lambda *_: np.full(SHAPE, 7, np.uint8)}, ValueError, "all equal"),
    "few images": ({"train": 5}, ValueError, "5 training images"),
    "another size": ({"image": lambda *_: np.eye(9, dtype=np.uint8)}, RuntimeError, "broadcast"),
    "withheld labels": ({"label": -1}, RuntimeError, "labels from -1 to -1"),
}


@pytest.mark.parametrize("changes, kind, words", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_contents(folders, changes, kind, words):
    prepare(folders["data_dir"], **changes)
    with pytest.raises(kind) as caught:
        data.load("tiny", **folders)
    one_line(caught, "'tiny'", words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imdb_reviews", "is not a classification set of uint8 images of one size"),
        ("celeb_a", "is not a classification set of uint8 images of one size"),
        ("mnits", "Did you mean: mnits -> mnist ?"),
        ("mnist:9.9.9", "only: 3.0.1"),
    ],
)
def test_names_of_no_usable_set(folders, name, words):
    with pytest.raises(ValueError) as caught:
        data.load(name, **folders)
    one_line(caught, repr(name), words)


def test_features_of_another_kind(folders):
    import tensorflow_datasets

    kinds = {
        "16 bits": {"image": tensorflow_datasets.features.Image(shape=SHAPE, dtype=np.uint16)},
        "no classes": {"label": np.int64},
    }
    for kind, features in kinds.items():
        folder = folders["data_dir"] / kind
        prepare(folder, features=features)
        with pytest.raises(ValueError) as caught:
            data.load("tiny", data_dir=folder)
        one_line(caught, "'tiny' is not a classification set of uint8 images of one size")


def test_a_set_that_names_code_of_its_own_is_not_run(folders, tmp_path, monkeypatch):
    description = prepare(folders["data_dir"]) / "features.json"
    text = description.read_text()
    description.write_text(text.replace('"tensorflow_datasets.core.features.features_dict.', '"trap.'))
    (tmp_path / "trap.py").write_text("open('executed', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError) as caught:
        data.load("tiny", **folders)
    one_line(caught, "its feature trap.FeaturesDict is not TFDS's own")
    assert not (tmp_path / "executed").exists()


def refuse(monkeypatch, *names):
    """Makes files and folders of these names unreadable. File modes would not stop a test run as root."""

    def refusing(function):
        def refused(path, *arguments, **named):
            if not isinstance(path, int) and os.path.basename(os.fspath(path)) in names:
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return function(path, *arguments, **named)

        return refused

    for module, function in ((builtins, "open"), (io, "open"), (os, "scandir"), (os, "listdir")):
        monkeypatch.setattr(module, function, refusing(getattr(module, function)))


def test_records_that_may_not_be_read_are_not_called_damaged(folders, monkeypatch):
    folder = prepare(folders["data_dir"])
    (records,) = folder.glob("*-train.array_record*")
    refuse(monkeypatch, records.name)
    with pytest.raises(RuntimeError) as caught:
        data.load("tiny", **folders)
    one_line(caught, "cannot read 'tiny'", "Permission denied", records)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_records(folders, damage):
    folder = prepare(folders["data_dir"])
    (records,) = folder.glob("*-train.array_record*")
    records.unlink() if damage == "missing" else os.truncate(records, 1000)
    with pytest.raises(RuntimeError) as caught:
        data.load("tiny", **folders)
    one_line(caught, "cannot read 'tiny'", folder)


def test_unprepared_set_without_tensorflow_names_the_cure(folders, monkeypatch):
    monkeypatch.setattr(tfds, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError) as caught:
        data.load("cifar10", **folders)
    one_line(caught, "'cifar10'", folders["data_dir"] / "cifar10", INSTALL)
    assert not folders["data_dir"].exists()


def test_of_the_formats_of_a_set_array_record_is_read(folders):
    folder = prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    info = json.loads((path := folder / "dataset_info.json").read_text()) | {"fileFormat": "tfrecord"}
    path.write_text(json.dumps(info | {"alternativeFileFormats": ["array_record"]}))
    assert_same(data.load("tiny", **folders), first)
    path.write_text(json.dumps(info))
    with pytest.raises(FileNotFoundError) as caught:
        data.load("tiny", **folders)
    one_line(caught, "'tiny'", folder, "as tfrecord", "array_record", INSTALL)


def pretend_tensorflow(monkeypatch, **changes):
    """Makes "tiny" a set that TFDS can prepare, as if TensorFlow were installed."""
    monkeypatch.setattr(tfds, "find_spec", lambda name: name == "tensorflow")
    monkeypatch.setattr("tensorflow_datasets.builder", lambda _, data_dir: tiny_builder(data_dir, **changes))


def test_unprepared_set_is_prepared_once_tensorflow_is_there(folders, monkeypatch):
    with monkeypatch.context() as patch:
        pretend_tensorflow(patch)
        prepared = data.load("tiny", **folders)
    assert len(prepared.train.labels) == 25
    assert list(folders["data_dir"].glob("tiny/1.2.3/*-train.array_record*"))
    assert_same(data.load("tiny", **folders), prepared)


def test_failed_download_is_one_line(folders, monkeypatch):
    def image(split, key):
        raise ConnectionError("no network\nand a second line")

    pretend_tensorflow(monkeypatch, image=image)
    with pytest.raises(RuntimeError) as caught:
        data.load("tiny", **folders)
    one_line(caught, "cannot prepare 'tiny'", folders["data_dir"], "no network")


@pytest.mark.parametrize("present", [[], ["mnist-train.array_record-00000-of-00001", "features.json"]])
def test_a_set_that_was_not_copied_whole_is_not_prepared_anew(folders, monkeypatch, caplog, present):
    folder = folders["data_dir"] / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    for name in present:
        (folder / name).touch()
    monkeypatch.setattr(tfds, "find_spec", lambda _: "TensorFlow")
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist", **folders)
    one_line(caught, "'mnist' is incomplete", folder, INSTALL)
    assert not caplog.records


def test_what_lies_beside_a_set_is_not_even_opened(folders, monkeypatch):
    folder = prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    (folder / "sub").mkdir()
    beside = (".DS_Store", ".nfs0001", "other.json", "old.array_record-00000-of-00001")
    for name in beside:
        (folder / name).write_bytes(b"x")
    refuse(monkeypatch, "sub", *beside)
    (folders["cache_dir"] / "another.npz").write_bytes(b"x")
    assert_same(data.load("tiny", **folders), first)
    assert len(list(folders["cache_dir"].glob("tiny-*.npz"))) == 1


@pytest.mark.parametrize("given", ["~/tfds", None])
def test_a_folder_may_be_given_from_home(folders, tmp_path, monkeypatch, given):
    prepare(folders["data_dir"])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", "~/nowhere" if given else "~/tfds")
    assert len(data.load("tiny", data_dir=given, cache_dir="~/cache").train.labels) == 25
    assert [path.name[:5] for path in folders["cache_dir"].iterdir()] == ["tiny-"]


@pytest.mark.parametrize("variable", ["", "~/elsewhere"])
def test_without_a_home_tfds_folder_must_be_given(folders, monkeypatch, variable):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("TFDS_DATA_DIR", variable)
    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(ValueError) as caught:
        data.load("tiny")
    one_line(caught, variable or "~/tensorflow_datasets", "home directory; give", "data_dir", "TFDS_DATA_DIR")


@pytest.mark.parametrize("given", [True, False])
def test_an_address_reaches_tfds_as_it_is(monkeypatch, given):
    asked = []

    def builder(name, data_dir):
        asked.append(data_dir)
        raise ValueError("no such bucket")

    monkeypatch.setattr("tensorflow_datasets.builder", builder)
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/sets")
    with pytest.raises(ValueError, match="cannot open TFDS set 'mnist' in gs://bucket/sets: no such"):
        data.load("mnist", data_dir="gs://bucket/sets" if given else None)
    assert asked == ["gs://bucket/sets"]


def test_a_server_that_does_not_answer_is_given_up_in_silence(folders, monkeypatch, caplog):
    from tensorflow_datasets.core.download import downloader

    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts connections, but never answers
        url = "http://{}:{}".format(*server.getsockname())

        def image(split, key):
            with downloader._open_url(url, verify=True):
                raise AssertionError("nobody answered")

        pretend_tensorflow(monkeypatch, image=image)
        monkeypatch.setattr(tfds, "_SECONDS_OF_SILENCE", 0.1)
        with pytest.raises(RuntimeError) as caught:
            data.load("tiny", **folders)
        server.settimeout(5)
        for _ in range(tfds._RETRIES + 1):
            server.accept()[0].close()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):  # there was no further attempt
            server.accept()
    one_line(caught, "cannot prepare 'tiny'", "127.0.0.1", "Read timed out")
    assert not caplog.records and tfds._SECONDS_TO_CONNECT * (tfds._RETRIES + 1) < 15
