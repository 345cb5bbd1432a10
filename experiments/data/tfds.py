"""Opens sets of TensorFlow Datasets (TFDS), prepares them if necessary, and decodes them.

TensorFlow is needed only to prepare a set for the first time, not to read the set's array_record files.
"""

import functools
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from decorr._names import meant
from experiments.data import tables
from experiments.disk import files

_INSTALL = 'pip install -e ".[prepare]" in the clone'  # Installs TensorFlow, with which TFDS prepares sets.
_CHUNK = 1000  # Records per call. 1,000 are read twice as fast as single ones, and need little memory.
_DESCRIPTION = ("dataset_info.json", "features.json")  # Without these files, TFDS finds no set.
# Limits for downloads. TFDS itself retries for more than 3 minutes, and waits for a silent server forever.
_RETRIES, _SECONDS_TO_CONNECT, _SECONDS_OF_SILENCE = 2, 4, 30


class PreparedSet(NamedTuple):
    """A set that is on disk as array_record."""

    builder: Any
    """TFDS's builder of the set."""
    keys: tuple[str, str]
    """The names of the set's features for the image and the label."""

    @property
    def name(self) -> str:
        return self.builder.info.full_name.rsplit("/", 1)[0]

    @property
    def version(self) -> str:
        return self.builder.info.full_name.rsplit("/", 1)[1]

    @property
    def classes(self) -> int:
        return self.builder.info.features[self.keys[1]].num_classes

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.builder.info.features[self.keys[0]].shape

    @property
    def splits(self) -> dict[str, int]:
        """Maps each split (train, and test if the set has one) to its number of samples."""
        splits = self.builder.info.splits
        return {split: splits[split].num_examples for split in ("test", "train") if split in splits}

    def fingerprint(self) -> str:
        """Returns a hash of exactly the files that decoding reads."""
        digest, info = hashlib.sha256(), self.builder.info
        with _reported(RuntimeError, f"cannot read {self.builder.name!r} in {self.builder.data_dir}"):
            records = (path for split in self.splits for path in info.splits[split].filepaths)
            for path in (*(self.builder.data_path / name for name in _DESCRIPTION), *records):
                with path.open("rb") as content:
                    digest.update(path.name.encode() + hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()[:16]


def folder(data_dir: str | os.PathLike[str] | None) -> str:
    """Returns where TFDS keeps its sets: the given folder or address, or TFDS's default. Raises ValueError if
    the folder begins with ~ and there is no home folder."""
    given = str(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if "://" in given:
        return given
    try:
        return str(files.expanded(given))
    except ValueError as error:
        raise ValueError(f"{error}, as data_dir or in TFDS_DATA_DIR") from None


def open_set(name: str, data_dir: str) -> PreparedSet:
    """Opens a set by its TFDS name, and prepares it if necessary; raises the same errors as `load`."""
    with _without_chatter():
        prepared = _open(name, data_dir)
        _prepare(prepared.builder)
    return prepared


def decode(prepared: PreparedSet) -> dict[str, np.ndarray]:
    """Returns, for each split, SPLIT_images [sample, pixel] uint8 and SPLIT_labels [sample] int32."""
    builder, stored = prepared.builder, {}
    with _without_chatter(), _reported(RuntimeError, f"cannot read {builder.name!r} in {builder.data_dir}"):
        for split in prepared.splits:
            stored[f"{split}_images"], stored[f"{split}_labels"] = _decode(prepared, split)
    return stored


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Silences TFDS's warnings (no OpenCV, skipped folders, each retry). Real problems raise errors."""
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _impatient() -> Iterator[None]:
    """Makes downloads give up within seconds where there is no network. TFDS has no setting for this."""
    from tensorflow_datasets.core.download import downloader

    timeout = (_SECONDS_TO_CONNECT, _SECONDS_OF_SILENCE)
    opened = functools.partial(downloader._open_url, timeout=timeout)
    with (
        mock.patch.object(downloader, "MAX_RETRIES", _RETRIES),
        mock.patch.object(downloader, "_open_url", opened),
    ):
        yield


@contextmanager
def _of_tfds_alone() -> Iterator[None]:
    """Allows only TFDS's own features. For any other feature, TFDS would import the module that a file names,
    which runs that module's code."""
    from tensorflow_datasets.core.features.feature import FeatureConnector

    known = FeatureConnector.cls_from_name

    def cls_from_name(name):
        if not name.startswith("tensorflow_datasets."):
            raise ValueError(f"its feature {name} is not TFDS's own, so TFDS would import and run it")
        return known(name)

    with mock.patch.object(FeatureConnector, "cls_from_name", cls_from_name):
        yield


@contextmanager
def _reported(kind: type[Exception], doing: str, hint: str = "") -> Iterator[None]:
    """Turns any error of TFDS, its readers or the network into one line. The errors have no common class.

    A given hint replaces the hint from TFDS.
    """
    try:
        yield
    except Exception as error:
        # An error of `requests` wraps the network's message in a message that counts attempts.
        said = getattr(next(iter(error.args), None), "reason", error)
        # After the first line, TFDS lists hundreds of names, and perhaps a suggestion.
        first, *more = str(said).strip().splitlines() or [type(error).__name__]
        reason = first.split('}": ')[-1].rstrip(".:")  # Leaves out TFDS's echo of its arguments.
        hints = [hint] if hint else [line for line in more if line.startswith("Did you mean")]
        hints += [_INSTALL] if isinstance(error, ImportError) else []
        raise kind("; ".join([f"{doing}: {reason}", *hints])) from error


def _open(name: str, data_dir: str) -> PreparedSet:
    """Returns the set, whose folder need not exist yet."""
    import tensorflow_datasets as tfds

    hint = meant(name, ("digits", *tables.EMBEDDED)).strip(" ()")
    with _reported(ValueError, f"cannot open TFDS set {name!r} in {data_dir}", hint), _of_tfds_alone():
        builder = tfds.builder(name, data_dir=data_dir)
    keys = builder.info.supervised_keys or ("image", "label")
    try:
        image, label = (builder.info.features[key] for key in keys)
    except (KeyError, TypeError, ValueError):  # The keys are absent, nested, or not a pair.
        image = label = None
    if not (
        isinstance(image, tfds.features.Image)
        and len(image.shape) == 3
        and None not in image.shape
        and image.np_dtype == np.uint8
        and isinstance(label, tfds.features.ClassLabel)
    ):
        kinds = f"{type(image).__name__} {getattr(image, 'shape', '')}, {type(label).__name__}"
        raise ValueError(
            f"{name!r} is not a classification set of uint8 images of one size: {', '.join(keys)} are {kinds}"
        )
    return PreparedSet(builder, (keys[0], keys[1]))


def _prepare(builder: Any) -> None:
    """Prepares the set as array_record if necessary, and checks that it has a training split."""
    name, folder = builder.name, builder.data_path
    if not builder.is_prepared():
        if folder.exists():  # TFDS prepares no set in an existing folder
            raise FileNotFoundError(
                f"{name!r} is incomplete in {folder}: copy the whole folder, or prepare the set in another "
                f"data_dir: {_INSTALL}"
            )
        if find_spec("tensorflow") is None:
            raise FileNotFoundError(f"{name!r} is not prepared in {folder}; to prepare it: {_INSTALL}")
        with _impatient(), _reported(RuntimeError, f"cannot prepare {name!r} in {folder}"):
            builder.download_and_prepare(file_format="array_record")
    formats = sorted(kind.value for kind in builder.info.available_file_formats())
    if "array_record" not in formats:
        raise FileNotFoundError(
            f"{name!r} is in {folder} as {', '.join(formats)}, not as array_record; "
            f"to prepare it in another data_dir: {_INSTALL}"
        )
    # If a set has files in several formats, `builder.info` must describe those in array_record.
    builder.info.set_file_format("array_record", override=True, override_if_initialized=True)
    if "train" not in builder.info.splits:
        raise ValueError(f"{name!r} has no split 'train', only {sorted(builder.info.splits)}")


def _decode(prepared: PreparedSet, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images [sample, pixel] uint8 and labels [sample] int32 of one split, in stored order."""
    builder, keys = prepared
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
