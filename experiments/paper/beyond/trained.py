"""Evaluates the networks of finished cells. JAX is imported only when a network runs."""

import functools
from collections.abc import Callable
from typing import Any

from decorr.config import Architecture
from experiments.grid.cells import Cell

Program = Callable[[Any, Any], tuple[Any, tuple[Any, ...]]]
"""A function of parameters and inputs [sample, feature]. It applies no dropout, and returns logits
[sample, class] and the activations [sample, unit] of each hidden layer."""


def program(cell: Cell, classes: int) -> Program:
    """Returns the program of a cell's fully connected networks. Equal architectures share a program."""
    return _compiled(cell.variant.architecture(cell.protocol, cell.size), classes)


@functools.cache
def _compiled(architecture: Architecture, classes: int) -> Program:
    import jax

    from decorr.models import MLP

    model = MLP(architecture, classes)
    return jax.jit(lambda params, x: model.apply({"params": params}, x))
