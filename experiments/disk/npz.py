"""Reads arrays from NumPy's files. Anybody may have made such a file, so nothing in it is executed."""

import math
from pathlib import Path

import numpy as np


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file that np.savez wrote. Any other file raises some exception.

    np.savez does not compress, so no array may be larger than the file.
    """
    taken = path.stat().st_size
    # Opened here, because np.load does not close a file that it cannot read.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        if sum(member.file_size for member in archive.zip.infolist()) > taken:
            raise ValueError("its arrays have more bytes than the file")
        arrays = dict(archive)
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or _least_bytes(array) > taken:
            raise ValueError(f"{name} is not an array, or has more entries than the file has bytes")
    return arrays


def _least_bytes(array: np.ndarray) -> int:
    """Returns an array's number of bytes, but counts axes of length 0 and entries of 0 bytes as 1. A factor 0
    would hide how long the other axes are."""
    return math.prod(max(1, length) for length in array.shape) * max(1, array.dtype.itemsize)
