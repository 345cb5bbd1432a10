"""Kernels as [output, input] in training: the same training."""

import functools

import jax
import numpy as np
import pytest

from decorr.config import Optimisation, Protocol, Regulariser
from decorr.models import MLP, ConvNet
from decorr.training import steps
from decorr.training.steps import Trainer, sgd
from experiments.data import load as data
from experiments.run import transposed

DIGITS = data.load("digits")
OPTIMISATION = Optimisation(momentum=0.9)  # of which the state has kernels too
PROTOCOLS = {family: Protocol(family=family, optimisation=OPTIMISATION) for family in ("mlp", "conv")}
MODELS = {
    "mlp": MLP(PROTOCOLS["mlp"].architecture("tiny"), DIGITS.classes),
    "conv": ConvNet(PROTOCOLS["conv"].architecture("tiny"), DIGITS.classes, DIGITS.image_shape),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_kernels_turned_are_trained_as_others(model):
    trainer = Trainer(model, sgd(OPTIMISATION), 50)
    sample = np.zeros((1, DIGITS.train.images.shape[1]), np.float32)
    state = steps.init(trainer, jax.random.key(0), Regulariser(0.01, 0.3), sample)
    order = steps.minibatches(state.key, 0, 500, 50)
    found, wanted = (
        jax.jit(functools.partial(train_epoch, trainer, observe=True))(state, DIGITS.train, order)
        for train_epoch in (transposed.train_epoch, steps.train_epoch)
    )
    bits = [after[0]._replace(key=jax.random.key_data(after[0].key)) for after in (found, wanted)]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(close, (bits[0], *found[1:]), (bits[1], *wanted[1:]))
