"""Minibatches of a split are scaled as by NumPy in float64, for an index and pixels in JAX or NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr.training.split import Split

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (20, 6), np.uint8), RNG.integers(0, 10, 20, np.int32)
SPLIT = Split(IMAGES, LABELS, np.asarray(33.3, np.float32), np.asarray(78.6, np.float32))
INDICES = {"array": np.array([[3, 1, 3], [0, 9, 7]]), "slice": slice(2, 9, 3), "all": ...}


def assert_batch(found, index):
    inputs, labels = found
    assert (inputs.dtype, labels.dtype) == (np.float32, np.int32)
    np.testing.assert_allclose(inputs, (IMAGES[index].astype(np.float64) - 33.3) / 78.6, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(labels, LABELS[index])


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_numpy_arrays_give_numpy_arrays_and_are_arguments_of_jitted_functions(index):
    batch = SPLIT.batch(index)
    assert_batch(batch, index)
    assert {type(array) for array in batch} == {np.ndarray}
    assert_batch(jax.jit(lambda split: split.batch(index))(SPLIT), index)


@pytest.mark.parametrize("transformed", [jax.jit, jax.vmap])
def test_a_traced_index_reads_numpy_arrays_too(transformed):
    index = INDICES["array"]
    assert_batch(transformed(SPLIT.batch)(jnp.asarray(index)), index)


def test_a_sample_that_is_not_there_is_an_error_where_it_can_be_seen():
    for index in (np.array([20]), jnp.array([20])):  # under jit JAX reads the last one instead
        with pytest.raises(IndexError):
            SPLIT.batch(index)
