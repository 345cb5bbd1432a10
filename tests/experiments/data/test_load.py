"""Splits and scaling of the embedded set, and of real sets if they are on this machine."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from experiments.data import load as data
from experiments.data.whitening import EPSILON


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


def test_zca_whitens_by_the_training_part_alone():
    digits, source = data.load(scaling="zca"), load_digits().data
    training = source[:1250]
    covariance = np.cov(training.T, ddof=0)
    added = EPSILON * np.diag(covariance).mean()
    variances, directions = np.linalg.eigh(covariance)
    wanted = (source - training.mean(0)) @ (directions / np.sqrt(variances + added)) @ directions.T
    inputs = [split.batch(...)[0] for split in (digits.train, digits.validation, digits.test)]
    assert {array.dtype for array in inputs} == {np.dtype(np.float32)}
    np.testing.assert_allclose(np.concatenate(inputs), wanted, atol=1e-5)
    constant = np.ptp(training, axis=0) == 0
    assert constant.any() and not inputs[0][:, constant].any()
    np.testing.assert_allclose(inputs[0].mean(0, dtype=np.float64), 0, atol=1e-6)
    found = directions.T @ np.cov(inputs[0].T.astype(np.float64), ddof=0) @ directions
    np.testing.assert_allclose(found, np.diag(variances / (variances + added)), atol=1e-5)
    assert found.max() > 0.95


def test_scaling_is_checked():
    with pytest.raises(ValueError, match="unknown scaling 'min': choose from max, zscore, zca"):
        data.load(scaling="min")


MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name, train, test",
    [("mnist", MNIST_TRAIN, MNIST_TEST), ("fashion_mnist", [6000] * 10, [1000] * 10)],
)
def test_real_sets_are_whole(tmp_path, name, train, test):
    real = data.load(name, cache_dir=tmp_path)
    splits = (real.train, real.validation, real.test)
    assert [split.images.shape for split in splits] == [(50_000, 784), (10_000, 784), (10_000, 784)]
    assert (real.version, real.classes, real.image_shape) == ("3.0.1", 10, (28, 28, 1))
    labels = np.concatenate([real.train.labels, real.validation.labels])
    np.testing.assert_array_equal(np.bincount(labels), train)
    np.testing.assert_array_equal(np.bincount(real.test.labels), test)
    assert real.train.scale == 255 and real.train.offset == 0
    if name == "mnist":  # The usual mean and standard deviation of all 60,000 images.
        zscored = data.load(name, cache_dir=tmp_path, scaling="zscore").train
        assert abs(zscored.offset / 255 - 0.1307) < 5e-4
        assert abs(zscored.scale / 255 - 0.3081) < 5e-4
