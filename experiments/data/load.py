"""Image classification sets as arrays in memory: the included digits, and any TFDS set by name.

A set that cannot be loaded is an error. No other set replaces it.
"""

import hashlib
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from decorr._names import check_name
from decorr.training.split import Split
from experiments.data import tables, tfds
from experiments.data.cache import Stored, cached
from experiments.data.pool import Pool
from experiments.data.whitening import Whitening
from experiments.disk import files
from experiments.grid.networks import Scaling


class Dataset(NamedTuple):
    """An image classification set, split for training."""

    name: str
    version: str
    classes: int
    image_shape: tuple[int, ...]
    """Height, width, channel."""
    train: Split
    validation: Split
    test: Split | None
    """The test split of the set's makers; None if the set has none. It is never used for validation."""
    content: str
    """A hash of all images and labels as they are stored, before scaling."""

    @property
    def identity(self) -> str:
        """Version and content, as results store them. Sets with the same identity have the same images."""
        return f"{self.version} sha256:{self.content}"


def load(
    name: str = "digits",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    scaling: Scaling = "max",
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads a set by name: "digits", which is included, or a TFDS image classification set.

    The last sixth of the training split, in stored order, is for validation, and the rest for training.
    For MNIST, validation has 10,000 images and training 50,000. The set's own test split, if any, is `test`.
    The digits have no such split, so their last 297 images are `test`. The first 1,500 images are split into
    1,250 for training and 250 for validation.

    The stored order is TFDS's, which sorts each split by the MD5 hash of split name and record key. It
    is the same on every machine for one version of the set, but differs from the order in the original
    file. So MNIST's validation images are not the last 10,000 of the original file.

    TFDS sets are decoded once (tens of seconds) and cached as arrays, in a file named after a hash of the
    prepared files. A damaged cache is rebuilt. If the cache cannot be written, or there is no
    home folder, a warning says so.

    Args:
      name: "digits", or a set's TFDS name, such as "mnist", "mnist:3.0.1" or "cifar10_corrupted/fog_1".
      data_dir: TFDS's folder, or an address that TFDS knows, such as gs://bucket/sets. None is TFDS's own
        default: $TFDS_DATA_DIR, else ~/tensorflow_datasets. "digits" ignores `data_dir`.
      scaling: "max" divides pixels by the largest pixel (MNIST: 255). "zscore" subtracts the mean of all
        pixels and divides by their standard deviation. "zca" whitens by mean and covariance (`Whitening`).
        All of these statistics are computed on the training part. Whitened images are float32, and are made
        here, once. Whitening MNIST again in every step would take more multiplications than the huge network
        does.
      cache_dir: folder for decoded arrays. None is $XDG_CACHE_HOME/decorr, else ~/.cache/decorr.

    Returns:
      The set, with all splits scaled alike.

    Raises:
      ValueError: TFDS cannot open a set of that name; or the set is a table, or has no classes, or no uint8
        images of one size; or its training split is missing, has fewer than 6 images, or only equal pixels;
        or neither `data_dir` nor TFDS_DATA_DIR nor a home folder says where TFDS's folder is.
      FileNotFoundError: the set is prepared, but not as array_record; or it is not prepared, and
        TensorFlow, which would prepare it, is not installed.
      RuntimeError: the set cannot be prepared (for example without a network), or its files cannot be read.

    Source: The split and "max" are those of the paper's released code, but the images are in another order.
      The digits are scikit-learn's `load_digits`, from the UCI repository (Alpaydin and Kaynak, 1998).
    """
    check_name("scaling", scaling, get_args(Scaling))
    if name == "digits":
        # The version is the digits' year, because every version of scikit-learn has the same pixels.
        version, classes, stored = "1998", 10, _digits()
        image_shape: tuple[int, ...] = (8, 8, 1)
    elif name in tables.EMBEDDED:
        raise ValueError(f"{name!r} is a table; images are needed here")
    else:
        cache = files.cache_dir() if cache_dir is None else files.expanded(cache_dir)
        prepared = tfds.open_set(name, tfds.folder(data_dir))
        stored = cached(prepared, cache)
        name, version = prepared.name, prepared.version
        classes, image_shape = prepared.classes, prepared.image_shape

    images, labels = stored["train_images"], stored["train_labels"]
    cut = len(images) - len(images) // 6
    if cut == len(images):
        raise ValueError(f"{name!r} has {cut} training images; 6 or more are needed")
    if images[:cut].min() == images[:cut].max():
        raise ValueError(f"{name!r} cannot be scaled: its training pixels are all equal")
    split = _scaling(images[:cut], scaling)
    train, validation = split(images[:cut], labels[:cut]), split(images[cut:], labels[cut:])
    test = split(stored["test_images"], stored["test_labels"]) if "test_images" in stored else None
    return Dataset(name, version, classes, image_shape, train, validation, test, _hash(stored))


def load_pool(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Pool:
    """Loads all rows of a set by its name.

    Args:
      name: "digits", "breast_cancer" or "wine", which are included; or the path of an ARFF file, whose last
        column is the class; or "openml:NAME" or "openml:NUMBER"; or else the name of a TFDS image
        classification set.
      data_dir: TFDS's folder, as in `load`.

    Raises:
      ValueError, FileNotFoundError, PermissionError, RuntimeError: as in `load` and `tables`.
    """
    if name in tables.EMBEDDED:
        return tables.embedded(name)
    if name.startswith("openml:"):
        return tables.openml(name.removeprefix("openml:"))
    if name.lower().endswith(".arff"):
        return tables.read_arff(files.expanded(name))
    dataset = load(name, data_dir=data_dir)
    splits = [dataset.train, dataset.validation, *([dataset.test] if dataset.test else [])]
    features = np.concatenate([split.images for split in splits])
    labels = np.concatenate([split.labels for split in splits])
    # The included digits have no test split of their own.
    test = len(dataset.test.labels) if dataset.test and name != "digits" else 0
    return Pool(dataset.name, dataset.identity, dataset.classes, dataset.image_shape, features, labels, test)


def _hash(stored: Stored) -> str:
    """Returns a hash that is the same for the same images and labels in the same order."""
    digest = hashlib.sha256()
    for name, array in sorted(stored.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _scaling(images: np.ndarray, scaling: Scaling) -> Callable[[np.ndarray, np.ndarray], Split]:
    """Returns a function (images, labels) -> Split, whose scaling is fitted to the given uint8 images."""
    pixels: Callable[[np.ndarray], np.ndarray] = np.asarray  # as they are
    offset, scale = 0.0, 1.0
    if scaling == "zca":
        pixels = Whitening.of(images).apply
    elif scaling == "max":
        scale = images.max()
    else:  # the moments are exact sums of integers
        count, total = images.size, int(images.sum(dtype=np.uint64))
        squares = int(np.square(images, dtype=np.uint16).sum(dtype=np.uint64))
        offset, scale = total / count, ((count * squares - total**2) / count**2) ** 0.5
    scalars = np.asarray(offset, np.float32), np.asarray(scale, np.float32)
    return lambda images, labels: Split(pixels(images), labels, *scalars)


def _digits() -> Stored:
    """Returns scikit-learn's 1,797 digits, of 8x8 pixels from 0 to 16."""
    # Reads only scikit-learn's file. Importing scikit-learn takes longer than all else before training.
    spec = find_spec("sklearn")
    assert spec and spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    rows = np.loadtxt(file, np.uint8, delimiter=",")
    images, labels = rows[:, :-1], rows[:, -1].astype(np.int32)
    train: Stored = {"train_images": images[:-297], "train_labels": labels[:-297]}
    return train | {"test_images": images[-297:], "test_labels": labels[-297:]}
