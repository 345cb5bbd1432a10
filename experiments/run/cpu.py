"""Chooses the fastest form of training on a CPU. Eigen's matrix products are faster for wide
networks, and YNNPACK's for narrow ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax

from decorr.models import MLP
from decorr.training import steps
from decorr.training.steps import Model, Trainer

WIDE = 256
"""If the widest layer has at least this many units, Eigen's products are faster than YNNPACK's."""


class Form(NamedTuple):
    """A way to compile the training of an epoch. The results of two forms differ only by rounding."""

    compiler_options: dict[str, Any]
    train_epoch: Callable
    """The function to call in place of `steps.train_epoch`."""


def form(trainer: Trainer) -> Form:
    """Returns the form in which the trainer's network trains faster."""
    if isinstance(trainer.model, MLP) and max(trainer.model.architecture.widths) >= WIDE:
        return Form({"xla_cpu_experimental_ynn_fusion_type": ""}, inputs_transposed)
    return Form({}, kernels_transposed)


def inputs_transposed(trainer: Trainer, *args: Any, **options: Any) -> Any:
    """Trains an MLP like `steps.train_epoch`, but computes the gradients of kernels from transposed copies of
    the layers' inputs."""
    model: Any = trainer.model
    trainer = replace(trainer, model=model.clone(dot_general=dot_general))
    return steps.train_epoch(trainer, *args, **options)


def dot_general(x: jax.Array, kernel: jax.Array, dimensions: Any, precision: Any = None) -> jax.Array:
    """Returns x @ kernel. The kernel's gradient, x^T @ g, uses a transposed copy of x, because Eigen is slow
    if it must read x column by column."""

    @jax.custom_jvp
    def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.dot_general(x, kernel, dimensions, precision=precision)

    @product.defjvp
    def derivative(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
        (x, kernel), (dx, dkernel) = primals, tangents
        copy = jax.lax.optimization_barrier(x.T).T
        return product(x, kernel), product(dx, kernel) + product(copy, dkernel)

    return product(x, kernel)


def kernels_transposed(trainer: Trainer, state: Any, *args: Any, **options: Any) -> Any:
    """Trains like `steps.train_epoch`, but stores kernels as [output, input], as suits YNNPACK's products.

    The states before and after have the usual layout. The optimiser must treat rows and columns alike, like
    SGD.
    """
    trainer = replace(trainer, model=_Transposed(trainer.model))
    state, *seen = steps.train_epoch(trainer, _transpose(state), *args, **options)
    return _transpose(state), *seen


@dataclass(frozen=True)
class _Transposed:
    """A model whose kernels are stored as [output, input]."""

    model: Model

    def init(self, rngs: Any, *args: Any) -> Any:
        return _transpose(self.model.init(rngs, *args))

    def apply(self, variables: Any, *args: Any, **options: Any) -> Any:
        return self.model.apply(_transpose(variables), *args, **options)


def _transpose(tree: Any) -> Any:
    """Transposes kernels [input, output], and the optimiser's arrays of the same shape. A second call
    undoes the first."""

    def turned(path: tuple[Any, ...], leaf: Any) -> Any:
        is_kernel = leaf.ndim == 2 and jax.tree_util.keystr(path[-1:], simple=True) == "kernel"
        return leaf.T if is_kernel else leaf

    return jax.tree.map_with_path(turned, tree)
