"""All rows of a data set (images or a table) from all its splits, and random samples of the rows."""

import os
from typing import NamedTuple

import numpy as np

from experiments.data import tables
from experiments.data.load import load
from experiments.disk import files

TEST = 5000
"""The largest number of rows for testing, if the set has no test split."""


class Sample(NamedTuple):
    """Indices (int32) of the rows of a pool that train a network, tune its hyperparameters, and test it."""

    train: np.ndarray
    tuning: np.ndarray
    test: np.ndarray


class Pool(NamedTuple):
    """A classification set in memory."""

    name: str
    identity: str
    """Version and a hash of the content."""
    classes: int
    image_shape: tuple[int, ...] | None
    """Height, width, channel; None for a table."""
    features: np.ndarray
    """[row, feature]: uint8 pixels, or float32 with NaN for gaps."""
    labels: np.ndarray
    """[row] int32, from 0."""
    test: int = 0
    """Number of rows at the end that are the set's own test split. Samples use them only for testing."""

    def rows(self, asked: int) -> int:
        """Returns the size of a sample: `asked` rows, or fewer if the set is smaller. If the set has no test
        split, a sample has at most four fifths of all rows, because the other rows are needed for testing."""
        there = len(self.labels) - self.test
        return min(asked, there if self.test else there * 4 // 5)

    def sample(self, rows: int, seed: int) -> Sample:
        """Draws a sample of this many rows, different for each seed. A fifth of the rows is for tuning."""
        there = len(self.labels) - self.test
        order = np.random.default_rng([seed, 20_26]).permutation(there).astype(np.int32)
        tuning = rows // 5
        kept_apart = np.arange(there, len(self.labels), dtype=np.int32)
        test = kept_apart if self.test else order[rows : rows + TEST]
        return Sample(order[tuning:rows], order[:tuning], test)


def load_pool(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Pool:
    """Loads a set by its name.

    Args:
      name: "digits", "breast_cancer" or "wine", which are included; or the path of an ARFF file, whose last
        column is the class; or "openml:NAME" or "openml:NUMBER"; or else the name of a TFDS image
        classification set.
      data_dir: TFDS's folder, as in `load`.

    Raises:
      ValueError, FileNotFoundError, PermissionError, RuntimeError: as in `load` and `tables`.
    """
    if name in tables.EMBEDDED:
        return _of_table(tables.embedded(name))
    if name.startswith("openml:"):
        return _of_table(tables.openml(name.removeprefix("openml:")))
    if name.lower().endswith(".arff"):
        return _of_table(tables.read_arff(files.expanded(name)))
    dataset = load(name, data_dir=data_dir)
    splits = [dataset.train, dataset.validation, *([dataset.test] if dataset.test else [])]
    features = np.concatenate([split.images for split in splits])
    labels = np.concatenate([split.labels for split in splits])
    # The included digits have no test split of their own.
    test = len(dataset.test.labels) if dataset.test and name != "digits" else 0
    return Pool(dataset.name, dataset.identity, dataset.classes, dataset.image_shape, features, labels, test)


def _of_table(table: tables.Table) -> Pool:
    return Pool(table.name, table.version, table.classes, None, table.features, table.labels)
