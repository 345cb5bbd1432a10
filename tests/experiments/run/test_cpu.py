"""The forms of training on a CPU: the same training."""

import functools

import jax
import numpy as np
import pytest

from decorr.config import Architecture, Optimisation, Regulariser
from decorr.models import MLP, ConvNet
from decorr.training import steps
from decorr.training.steps import Trainer, sgd
from experiments.data import load as data
from experiments.grid.networks import Recipe
from experiments.run import cpu

DIGITS = data.load("digits")
OPTIMISATION = Optimisation(momentum=0.9)  # of which the state has kernels too
MODELS = {
    family: kind(Recipe(family=family).architecture("tiny"), DIGITS.classes, *shape)
    for family, kind, shape in (("mlp", MLP, ()), ("conv", ConvNet, (DIGITS.image_shape,)))
}


@pytest.mark.parametrize(
    ("train_epoch", "family"),
    [(cpu.kernels_transposed, "mlp"), (cpu.kernels_transposed, "conv"), (cpu.inputs_transposed, "mlp")],
)
def test_forms_train_the_same(train_epoch, family):
    trainer = Trainer(MODELS[family], sgd(OPTIMISATION), 50)
    sample = np.zeros((1, DIGITS.train.images.shape[1]), np.float32)
    state = steps.init(trainer, jax.random.key(0), Regulariser(0.01, 0.3), sample)
    order = steps.minibatches(state.key, 0, 500, 50)
    found, wanted = (
        jax.jit(functools.partial(each, trainer, observe=True))(state, DIGITS.train, order)
        for each in (train_epoch, steps.train_epoch)
    )
    bits = [after[0]._replace(key=jax.random.key_data(after[0].key)) for after in (found, wanted)]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(close, (bits[0], *found[1:]), (bits[1], *wanted[1:]))


def test_transposed_inputs_make_the_products_that_eigen_is_fast_at():
    """A kernel's gradient reads neither factor across: both are contracted as a plain product has them."""
    x, kernel = np.ones((5, 7), np.float32), np.ones((7, 3), np.float32)
    gradient = jax.grad(lambda kernel: cpu._dot_general(x, kernel, (((1,), (0,)), ((), ()))).sum())
    assert (
        "lhs_contracting_dims={1}, rhs_contracting_dims={0}"
        in jax.jit(gradient).lower(kernel).compile().as_text()
    )


@pytest.mark.parametrize(("widths", "form"), [((256, 9), "inputs"), ((255, 9), "kernels")])
def test_the_widest_layer_decides(widths, form):
    model = MLP(Architecture(widths, "prelu", 0.25, "torch", input_dropout=True), 10)
    assert cpu.form(Trainer(model, sgd(OPTIMISATION), 50)).train_epoch is getattr(cpu, f"{form}_transposed")
