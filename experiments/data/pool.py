"""All rows of a data set (images or a table) from all its splits, and random samples of the rows."""

from typing import NamedTuple

import numpy as np

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
    """[row] int32, from 0; a table's in the order of the classes' names."""
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
