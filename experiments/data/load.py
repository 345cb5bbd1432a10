"""Arrays in memory: the embedded set, any TFDS image classification set by name.

TensorFlow serves only to prepare a TFDS set for the first time; a folder that holds the set as
array_record is read without it. What cannot be had is an error, never another set in its place.
"""

import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from decorr.training.split import Split
from experiments.data.cache import default_cache_dir

_INSTALL = 'pip install "decorr-jax[prepare]"'  # Brings TensorFlow, for TFDS to prepare its sets.
_CHUNK = 1000  # Records fetched in one call: half the time of one by one, in little memory.

# train_images and, where the set has them, test_images: [sample, pixel] uint8;
# train_labels and test_labels: [sample] int32. It is also what a cache file holds.
_Stored = dict[str, Any]


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
    """What the set's makers kept apart, None where they did not; never used for validation."""


def load(
    name: str = "digits",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    scaling: Literal["max", "zscore"] = "max",
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads a set by name: "digits", which is embedded, or a TFDS image classification set.

    The last sixth of the training split, in stored order, validates and the rest trains: 50,000 and
    10,000 for MNIST. The set's own test split, if any, is `test`. "digits" has none: its last 297
    images are kept apart as `test`; of the 1,500 before them, 1,250 train and 250 validate.

    Stored order is TFDS's, which sorts a split by the MD5 hash of split name and record key when it
    prepares a set: the same on every machine for one version of the set, but not the order of the
    original file. So MNIST's validation images are not that file's last 10,000.

    TFDS sets are decoded once (tens of seconds) and cached as arrays, in a file named after a hash
    of the prepared ones. A damaged cache is rebuilt; one that cannot be written costs a warning.

    Args:
        name: "digits", or a set's TFDS name: "mnist", "mnist:3.0.1", "cifar10_corrupted/fog_1".
        data_dir: TFDS's folder. None is TFDS's own default: TFDS_DATA_DIR as it was when TFDS was
            imported, else ~/tensorflow_datasets. "digits" is embedded and does not look at it.
        scaling: "max" divides pixels by the largest of the training part (MNIST: 255). "zscore"
            subtracts the mean and divides by the standard deviation of all its pixels together.
        cache_dir: folder for decoded arrays. None is $XDG_CACHE_HOME/decorr, else ~/.cache/decorr.

    Returns:
        The set, with the same offset and scale in all its splits.

    Raises:
        ValueError: TFDS cannot open a set of that name; it does not classify uint8 images of one
            size; it has no training split, or one of fewer than 6 images, or of equal pixels.
        FileNotFoundError: the set is prepared in another format than array_record; or not at all,
            and TensorFlow, which could prepare it, is not installed.
        RuntimeError: the set cannot be prepared (no network, for one), or its files not be read.

    Source: split and "max" are the paper's released code, up to the order. The digits are
        scikit-learn's `load_digits`, from the UCI repository (Alpaydin and Kaynak, 1998).
    """
    if scaling not in ("max", "zscore"):
        raise ValueError(f"scaling must be 'max' or 'zscore'; got {scaling!r}")
    if name == "digits":
        # Versioned by year: the pixels are the same whichever scikit-learn carries them.
        version, classes, image_shape, stored = "1998", 10, (8, 8, 1), _digits()
    else:
        builder, keys = _open(name, data_dir)
        _prepare(builder)
        stored = _cached(builder, keys, Path(cache_dir or default_cache_dir()))
        name, version = builder.info.full_name.rsplit("/", 1)
        image, label = (builder.info.features[key] for key in keys)
        classes, image_shape = label.num_classes, image.shape

    images, labels = stored["train_images"], stored["train_labels"]
    cut = len(images) - len(images) // 6
    if cut == len(images):
        raise ValueError(f"{name!r} has {cut} training images; 6 or more are needed")
    if images[:cut].min() == images[:cut].max():
        raise ValueError(f"{name!r} cannot be scaled: its training pixels are all equal")
    scalars = _scaling(images[:cut], scaling)
    train = Split(images[:cut], labels[:cut], *scalars)
    validation = Split(images[cut:], labels[cut:], *scalars)
    kept_apart = "test_images" in stored
    test = Split(stored["test_images"], stored["test_labels"], *scalars) if kept_apart else None
    return Dataset(name, version, classes, image_shape, train, validation, test)


def _scaling(images: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale of uint8 pixels; the moments are exact sums of integers."""
    if scaling == "max":
        return np.asarray(0, np.float32), np.asarray(images.max(), np.float32)
    count, total = images.size, int(images.sum(dtype=np.uint64))
    squares = int(np.square(images, dtype=np.uint16).sum(dtype=np.uint64))
    variance = (count * squares - total**2) / count**2
    return np.asarray(total / count, np.float32), np.asarray(variance**0.5, np.float32)


def _digits() -> _Stored:
    """scikit-learn's 1,797 digits of 8x8 pixels from 0 to 16."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.uint8), labels.astype(np.int32)
    train = {"train_images": images[:-297], "train_labels": labels[:-297]}
    return train | {"test_images": images[-297:], "test_labels": labels[-297:]}


@contextmanager
def _reported(kind: type[Exception], doing: str) -> Iterator[None]:
    """Makes one line of whatever TFDS, its readers or the network raise: they share no class."""
    try:
        yield
    except Exception as error:
        # After its first line TFDS lists hundreds of names, then perhaps the one that was meant.
        first, *more = str(error).strip().splitlines() or [type(error).__name__]
        reason = first.split('}": ')[-1].rstrip(".:")  # Without TFDS's echo of its arguments.
        hints = [line for line in more if line.startswith("Did you mean")]
        hints += [_INSTALL] if isinstance(error, ImportError) else []
        raise kind("; ".join([f"{doing}: {reason}", *hints])) from error


def _open(name: str, data_dir: str | os.PathLike[str] | None) -> tuple[Any, list[str]]:
    """TFDS's builder of a set, and what it calls its image and label; touches no data."""
    import tensorflow_datasets as tfds

    with _reported(ValueError, f"cannot open TFDS set {name!r}"):
        builder = tfds.builder(name, data_dir=data_dir)
    keys = builder.info.supervised_keys or ("image", "label")
    try:
        image, label = (builder.info.features[key] for key in keys)
    except (KeyError, TypeError, ValueError):  # Absent, nested, or not a pair.
        image = label = None
    if not (
        isinstance(image, tfds.features.Image)
        and len(image.shape) == 3
        and None not in image.shape
        and image.np_dtype == np.uint8
        and isinstance(label, tfds.features.ClassLabel)
    ):
        found = f"{type(image).__name__} {getattr(image, 'shape', '')} and {type(label).__name__}"
        raise ValueError(f"{name!r} does not classify uint8 images of one size: {keys} is {found}")
    return builder, list(keys)


def _prepare(builder: Any) -> None:
    """Sees to it that the set lies in its folder as array_record, with a training split."""
    name, folder = builder.name, builder.data_dir
    if not builder.is_prepared():
        if find_spec("tensorflow") is None:
            raise FileNotFoundError(f"{name!r} is not prepared in {folder}; to do so: {_INSTALL}")
        with _reported(RuntimeError, f"cannot prepare {name!r} in {folder}"):
            builder.download_and_prepare(file_format="array_record")
    formats = sorted(each.value for each in builder.info.available_file_formats())
    if "array_record" not in formats:
        raise FileNotFoundError(
            f"{name!r} is in {folder} as {', '.join(formats)}, not as array_record; "
            f"to prepare it in another data_dir: {_INSTALL}"
        )
    if "train" not in builder.info.splits:
        raise ValueError(f"{name!r} has no split 'train', only {sorted(builder.info.splits)}")


def _cached(builder: Any, keys: list[str], cache_dir: Path) -> _Stored:
    """The decoded set: from the cache where possible, else decoded and written there."""
    fingerprint = hashlib.sha256()
    for file in sorted(builder.data_path.iterdir()):
        with file.open("rb") as content:
            fingerprint.update(file.name.encode() + hashlib.file_digest(content, "sha256").digest())
    full_name = builder.info.full_name.replace("/", "-")
    path = cache_dir / f"{full_name}-{fingerprint.hexdigest()[:16]}.npz"
    splits = sorted({"train", "test"} & set(builder.info.splits))
    try:
        # Opened here, since np.load leaves the file open where the archive is damaged.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for s in splits for key in (f"{s}_images", f"{s}_labels")}
    except Exception:
        # Absent, or damaged, which has many names (BadZipFile, ValueError, NotImplementedError).
        stored: _Stored = {}
    with _reported(RuntimeError, f"cannot read {builder.name!r} in {builder.data_dir}"):
        for split in splits:
            stored[f"{split}_images"], stored[f"{split}_labels"] = _decode(builder, split, keys)
    try:
        _write(path, stored)
    except OSError as error:
        warnings.warn(f"decoded {builder.name!r} could not be cached: {error}", stacklevel=3)
    return stored


def _decode(builder: Any, split: str, keys: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Images [sample, pixel] uint8 and labels [sample] int32 of one split, in stored order."""
    source = builder.as_data_source(split=split, file_format="array_record")
    image, label = (builder.info.features[key] for key in keys)
    images = np.empty((len(source), *image.shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), _CHUNK):
        part = slice(start, start + _CHUNK)
        records = source.__getitems__(list(range(len(source))[part]))
        images[part] = [record[keys[0]] for record in records]
        labels[part] = [record[keys[1]] for record in records]
    # TFDS writes -1 where a label is withheld.
    if labels.min() < 0 or labels.max() >= label.num_classes:
        raise ValueError(f"split {split!r} has labels from {labels.min()} to {labels.max()}")
    return images.reshape(len(images), -1), labels


def _write(path: Path, stored: _Stored) -> None:
    """Writes a cache file of which a reader, or a crash, sees all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        with open(Path(folder) / path.name, "wb") as file:
            np.savez(file, **stored)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
