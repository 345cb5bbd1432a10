"""A small set of colour images that TFDS itself writes, for tests of the code that reads sets."""

import io
from pathlib import Path

import jax
import numpy as np
from PIL import Image

SHAPE, CLASSES = (4, 5, 3), 3


def pixels(split: str, key: int) -> np.ndarray:
    seed = sum(split.encode()) * 1000 + key
    return np.random.default_rng(seed).integers(0, 201, SHAPE, dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    # TFDS encodes arrays with TensorFlow, but accepts images that are already encoded.
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def tiny_builder(data_dir, *, train=30, test=7, image=pixels, label=None, features=None):
    """Returns a builder of a set of colour images named "tiny", which TFDS's registry does not know."""
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


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def one_line(caught, *words) -> None:
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    for word in words:
        assert str(word) in message
