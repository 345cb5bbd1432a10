"""Splits, scaling, the TFDS path (on sets written here, through TFDS itself) and the cache."""

import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from experiments.data import load as data

INSTALL = 'pip install "decorr-jax[prepare]"'
SHAPE, CLASSES = (4, 5, 3), 3


def pixels(split: str, key: int) -> np.ndarray:
    seed = sum(split.encode()) * 1000 + key
    return np.random.default_rng(seed).integers(0, 201, SHAPE, dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    # TFDS encodes arrays with TensorFlow, but takes what is encoded already.
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def tiny_builder(data_dir, *, train=30, test=7, image=pixels, label=None, features=None):
    """A builder of colour images named "tiny", unknown to TFDS's registry."""
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=SHAPE),
        "label": tfds.features.ClassLabel(num_classes=CLASSES),
    } | (features or {})

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.2.3")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            sizes = {"train": train, "test": test}
            return {split: self._examples(split, size) for split, size in sizes.items() if size}

        def _examples(self, split, size):
            for key in range(size):
                number = key % CLASSES if label is None else label
                yield key, {"image": png(image(split, key)), "label": number}

        def _generate_examples(self):
            raise NotImplementedError

    return Tiny(data_dir=data_dir)


def prepare(data_dir, **changes) -> Path:
    builder = tiny_builder(data_dir, **changes)
    builder.download_and_prepare(file_format="array_record")
    return Path(builder.data_dir)


@pytest.fixture
def folders(tmp_path):
    return {"data_dir": tmp_path / "tfds", "cache_dir": tmp_path / "cache"}


@pytest.fixture
def no_decoding(monkeypatch):
    """Called by a test, forbids decoding from then on."""

    def forbid():
        def decode(*_):
            raise AssertionError("decoded again")

        monkeypatch.setattr(data, "_decode", decode)

    return forbid


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def one_line(caught, *words) -> None:
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    for word in words:
        assert str(word) in message


# The embedded set


def test_digits_are_those_of_scikit_learn_in_their_order(tmp_path):
    digits, source = data.load(data_dir=tmp_path / "ignored"), load_digits()
    splits = (digits.train, digits.validation, digits.test)
    assert [len(split.labels) for split in splits] == [1250, 250, 297]
    assert {split.images.dtype.name for split in splits} == {"uint8"}
    assert {split.labels.dtype.name for split in splits} == {"int32"}
    np.testing.assert_array_equal(np.concatenate([s.images for s in splits]), source.data)
    np.testing.assert_array_equal(np.concatenate([s.labels for s in splits]), source.target)
    assert (digits.name, digits.classes, digits.image_shape) == ("digits", 10, (8, 8, 1))


def test_max_divides_by_the_largest_training_pixel():
    digits = data.load(scaling="max")
    for split in (digits.train, digits.validation, digits.test):
        assert split.offset == 0 and split.scale == 16
    inputs, _ = digits.validation.batch(...)
    np.testing.assert_array_equal(inputs, load_digits().data[1250:1500].astype(np.float32) / 16)


def test_zscore_takes_its_moments_from_the_training_part_alone():
    digits = data.load(scaling="zscore")
    reference = load_digits().data[:1250]
    for split in (digits.train, digits.validation, digits.test):
        np.testing.assert_allclose(split.offset, reference.mean(), rtol=1e-6)
        np.testing.assert_allclose(split.scale, reference.std(), rtol=1e-6)
        assert split.offset.dtype == split.scale.dtype == np.float32
        assert split.offset.shape == split.scale.shape == ()
    inputs, _ = digits.train.batch(...)
    assert abs(inputs.mean(dtype=np.float64)) < 1e-6
    assert abs(inputs.std(dtype=np.float64) - 1) < 1e-6


def test_scaling_is_checked():
    with pytest.raises(ValueError, match="scaling must be 'max' or 'zscore'; got 'min'"):
        data.load(scaling="min")


# Minibatches


INDICES = {"array": np.array([[3, 1, 3], [0, 9, 7]]), "slice": slice(2, 9, 3), "all": ...}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_batch_in_numpy_is_scaled_float32(index):
    split = data.load(scaling="zscore").train
    inputs, labels = split.batch(index)
    assert (inputs.dtype, labels.dtype) == (np.float32, np.int32)
    source = load_digits()
    reference = source.data[:1250]
    expected = (reference[index] - reference.mean()) / reference.std()
    np.testing.assert_allclose(inputs, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(labels, source.target[:1250][index])


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_batch_under_jit_equals_numpy(index):
    split = data.load(scaling="zscore").train
    traced = isinstance(index, np.ndarray)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        if traced:
            inputs, labels = jax.jit(data.Split.batch)(split, index)
        else:
            inputs, labels = jax.jit(lambda s: s.batch(index))(split)
    expected_inputs, expected_labels = split.batch(index)
    assert (inputs.dtype, labels.dtype) == (np.float32, np.int32)
    np.testing.assert_allclose(inputs, expected_inputs, rtol=1e-6)
    np.testing.assert_array_equal(labels, expected_labels)


# TFDS sets, read without TensorFlow


def test_tfds_set_comes_in_stored_order(folders):
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


def test_records_are_decoded_in_chunks(folders, monkeypatch):
    prepare(folders["data_dir"])
    whole = data.load("tiny", **folders)
    monkeypatch.setattr(data, "_CHUNK", 8)
    folders["cache_dir"] = folders["cache_dir"] / "other"
    assert_same(data.load("tiny", **folders), whole)


def test_set_without_test_split(folders):
    prepare(folders["data_dir"], test=0)
    tiny = data.load("tiny", **folders)
    assert tiny.test is None and len(tiny.train.labels) == 25


def test_set_without_training_split(folders):
    prepare(folders["data_dir"], train=0)
    with pytest.raises(ValueError) as caught:
        data.load("tiny", **folders)
    one_line(caught, "'tiny'", "no split 'train'", "['test']")


UNUSABLE = {
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


@pytest.mark.parametrize("name", ["imdb_reviews", "imagenet2012", "celeb_a"])
def test_sets_that_do_not_classify_images_of_one_size(folders, name):
    with pytest.raises(ValueError) as caught:
        data.load(name, **folders)
    one_line(caught, repr(name), "does not classify uint8 images of one size")


def test_features_of_another_kind(folders):
    import tensorflow_datasets as tfds

    kinds = {
        "16 bits": {"image": tfds.features.Image(shape=SHAPE, dtype=np.uint16)},
        "no classes": {"label": np.int64},
    }
    for kind, features in kinds.items():
        folder = folders["data_dir"] / kind
        prepare(folder, features=features)
        with pytest.raises(ValueError) as caught:
            data.load("tiny", data_dir=folder)
        one_line(caught, "'tiny' does not classify uint8 images of one size")


def test_unknown_name_gets_a_suggestion(folders):
    with pytest.raises(ValueError) as caught:
        data.load("mnits", **folders)
    one_line(caught, "'mnits'", "Did you mean: mnits -> mnist ?")


def test_unknown_version_is_named(folders):
    with pytest.raises(ValueError) as caught:
        data.load("mnist:9.9.9", **folders)
    one_line(caught, "'mnist:9.9.9'", "only: 3.0.1")


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_records(folders, damage):
    folder = prepare(folders["data_dir"])
    (records,) = folder.glob("*-train.array_record*")
    records.unlink() if damage == "missing" else os.truncate(records, 1000)
    with pytest.raises(RuntimeError) as caught:
        data.load("tiny", **folders)
    one_line(caught, "cannot read 'tiny'", folder)


# Preparing


def test_unprepared_set_without_tensorflow_names_the_cure(folders, monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError) as caught:
        data.load("cifar10", **folders)
    one_line(caught, "'cifar10'", folders["data_dir"] / "cifar10", INSTALL)
    assert not folders["data_dir"].exists()


def test_set_in_another_format_names_both(folders):
    folder = prepare(folders["data_dir"])
    info = json.loads((folder / "dataset_info.json").read_text()) | {"fileFormat": "tfrecord"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(FileNotFoundError) as caught:
        data.load("tiny", **folders)
    one_line(caught, "'tiny'", folder, "as tfrecord", "array_record", INSTALL)


def pretend_tensorflow(monkeypatch, **changes):
    """Makes "tiny" a set that TFDS can prepare, as it can its own once TensorFlow is installed."""
    import tensorflow_datasets as tfds

    monkeypatch.setattr(data, "find_spec", lambda name: name == "tensorflow")
    monkeypatch.setattr(tfds, "builder", lambda _, data_dir: tiny_builder(data_dir, **changes))


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


# The cache


def test_second_load_reads_the_cache(folders, no_decoding):
    prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    no_decoding()
    assert_same(data.load("tiny", **folders), first)
    (cached,) = folders["cache_dir"].iterdir()
    assert cached.name.startswith("tiny-1.2.3-") and cached.suffix == ".npz"


def pickles() -> bytes:
    """What np.load would only read by running code that the file brings along."""
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


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_cache_is_rebuilt(folders, no_decoding, damage):
    prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    (cached,) = folders["cache_dir"].iterdir()
    content = cached.read_bytes()
    cached.write_bytes(damage(content))
    assert cached.read_bytes() != content
    assert_same(data.load("tiny", **folders), first)
    no_decoding()
    assert_same(data.load("tiny", **folders), first)


def test_changed_records_are_decoded_anew(folders):
    folder = prepare(folders["data_dir"])
    first = data.load("tiny", **folders)
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    shutil.rmtree(folder)
    # One pixel of one image: every file keeps its size, only contents tell.
    prepare(folders["data_dir"], image=lambda s, k: pixels(s, k) ^ np.uint8(k == 0))
    assert {file.name: file.stat().st_size for file in folder.iterdir()} == sizes
    second = data.load("tiny", **folders)
    assert (first.train.images != second.train.images).any()


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


@pytest.mark.parametrize("variable, inside", [("XDG_CACHE_HOME", ""), ("HOME", ".cache")])
def test_default_cache_folder(folders, tmp_path, monkeypatch, variable, inside):
    prepare(folders["data_dir"])
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "mine"))
    data.load("tiny", data_dir=folders["data_dir"])
    assert len(list((tmp_path / "mine" / inside / "decorr").glob("tiny-*.npz"))) == 1


# Real data, in TFDS's default folder


MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name, train, test",
    [("mnist", MNIST_TRAIN, MNIST_TEST), ("fashion_mnist", [6000] * 10, [1000] * 10)],
)
def test_real_sets_are_whole(tmp_path, name, train, test):
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"TFDS_DATA_DIR names no folder with {name}")
    real = data.load(name, cache_dir=tmp_path)
    splits = (real.train, real.validation, real.test)
    assert [split.images.shape for split in splits] == [(50_000, 784), (10_000, 784), (10_000, 784)]
    assert (real.version, real.classes, real.image_shape) == ("3.0.1", 10, (28, 28, 1))
    labels = np.concatenate([real.train.labels, real.validation.labels])
    np.testing.assert_array_equal(np.bincount(labels), train)
    np.testing.assert_array_equal(np.bincount(real.test.labels), test)
    assert real.train.scale == 255 and real.train.offset == 0
    if name == "mnist":  # Mean and deviation of the 60,000, as published everywhere.
        zscored = data.load(name, cache_dir=tmp_path, scaling="zscore").train
        assert abs(zscored.offset / 255 - 0.1307) < 5e-4
        assert abs(zscored.scale / 255 - 0.3081) < 5e-4
