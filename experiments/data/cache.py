"""Reads and writes the cache of decoded sets. The name of each file contains a hash of the prepared set."""

import warnings
from pathlib import Path

import numpy as np

from experiments.data.tfds import PreparedSet, decode
from experiments.disk import npz
from experiments.disk.files import write_atomically

Stored = dict[str, np.ndarray]
"""The content of a cache file: train_images [sample, pixel] uint8 and train_labels [sample] int32, and
test_images and test_labels if the set has them."""


def cached(prepared: PreparedSet, folder: Path | None) -> Stored:
    """Returns the decoded set from the cache. If the cache lacks the set, decodes it and writes it there."""
    name = prepared.builder.name
    if folder is None:
        warnings.warn(
            f"decoded {name!r} is not cached: there is no home folder; set XDG_CACHE_HOME", stacklevel=3
        )
        return decode(prepared)
    full_name = prepared.builder.info.full_name.replace("/", "-")
    path = folder / f"{full_name}-{prepared.fingerprint()}.npz"
    stored = _read(path, prepared)
    if stored is None:
        stored = decode(prepared)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **stored))
        except OSError as error:
            warnings.warn(f"decoded {name!r} could not be cached: {error}", stacklevel=3)
    return stored


def _read(path: Path, prepared: PreparedSet) -> Stored | None:
    """Returns the content of a cache file; None if the file is missing or damaged, or holds another set."""
    pixels = int(np.prod(prepared.image_shape))
    stored: Stored = {}
    try:
        arrays = npz.read(path)
        for split, samples in prepared.splits.items():
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
            if (
                (images.dtype, images.shape) != (np.uint8, (samples, pixels))
                or (labels.dtype, labels.shape) != (np.int32, (samples,))
                or not 0 <= labels.min() <= labels.max() < prepared.classes
            ):
                return None
            stored |= {f"{split}_images": images, f"{split}_labels": labels}
    except Exception:  # a damaged file raises BadZipFile, ValueError, NotImplementedError, ...
        return None
    return stored
