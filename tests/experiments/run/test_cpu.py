"""All forms of training on a CPU give the same results."""

import functools

import jax
import numpy as np
import pytest

from decorr.config import Architecture, Optimisation, Regulariser
from decorr.models import MLP, ConvNet
from decorr.training import steps
from decorr.training.steps import Trainer, sgd
from experiments.data import load as data
from experiments.run import cpu

DIGITS = data.load("digits")
OPTIMISATION = Optimisation(momentum=0.9)  # the momentum adds arrays like kernels to the state
MODELS = {
    "mlp": MLP(Architecture((6,), "prelu", 0.25, "torch", input_dropout=True), DIGITS.classes),
    "conv": ConvNet(Architecture((4,)), DIGITS.classes, DIGITS.image_shape),
}


@pytest.mark.parametrize(
    ("family", "forms"),
    [
        ("mlp", [cpu.kernels_transposed, cpu.inputs_transposed]),
        pytest.param("conv", [cpu.kernels_transposed], marks=pytest.mark.slow),
    ],
)
def test_forms_train_the_same(family, forms):
    trainer = Trainer(MODELS[family], sgd(OPTIMISATION), 50)
    key, sample = jax.random.key(0), np.zeros((1, DIGITS.train.images.shape[1]), np.float32)
    state = jax.jit(lambda: steps.init(trainer, key, Regulariser(), sample))()
    order = np.random.default_rng(0).permutation(500).reshape(10, 50)

    def trained(train_epoch):
        train = jax.jit(functools.partial(train_epoch, trainer, observe=True))
        after, *seen = train(state, DIGITS.train, order)
        return after._replace(key=jax.random.key_data(after.key)), *seen

    wanted = trained(steps.train_epoch)
    for form in forms:
        close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
        jax.tree.map(close, trained(form), wanted)


def test_transposed_inputs_make_the_products_that_eigen_is_fast_at():
    """In the product for a kernel's gradient, both factors are contracted like in a plain product x @ y."""
    x, kernel = np.ones((5, 7), np.float32), np.ones((7, 3), np.float32)
    gradient = jax.grad(lambda kernel: cpu.dot_general(x, kernel, (((1,), (0,)), ((), ()))).sum())
    assert (
        "lhs_contracting_dims={1}, rhs_contracting_dims={0}"
        in jax.jit(gradient).lower(kernel).compile().as_text()
    )


@pytest.mark.parametrize(("widths", "form"), [((256, 9), "inputs"), ((255, 9), "kernels")])
def test_the_widest_layer_decides(widths, form):
    model = MLP(Architecture(widths, "prelu", 0.25, "torch", input_dropout=True), 10)
    assert cpu.form(Trainer(model, sgd(OPTIMISATION), 50)).train_epoch is getattr(cpu, f"{form}_transposed")
