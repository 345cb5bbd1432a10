"""Makes optax's schedules, by which a number shrinks during training."""

import functools

import jax
import jax.numpy as jnp
import optax

from decorr._names import check_name
from decorr.config import Schedule

LAST = 0.01
"""The factor at the end of an exponential schedule."""


@functools.cache
def schedule(kind: Schedule, steps: int) -> optax.Schedule:
    """Returns a function from the step t = 0, 1, ..., steps - 1 to a float32 factor, which begins at 1.

    constant: 1. cosine: (1 + cos(pi t / steps)) / 2, which ends at 0. exponential: 0.01^(t / steps). Equal
    arguments give the same function object, so networks with the same schedule share a program.

    Args:
      kind: constant, cosine or exponential.
      steps: the number of steps of the whole training.

    Raises:
      ValueError: an unknown kind, or fewer than one step.

    Source: optax.cosine_decay_schedule, optax.exponential_decay.
    """
    if steps < 1:
        raise ValueError(f"a schedule needs at least one step; got {steps}")
    kinds = {
        "constant": optax.constant_schedule(1.0),
        "cosine": optax.cosine_decay_schedule(1.0, steps),
        "exponential": optax.exponential_decay(1.0, steps, LAST),
    }
    check_name("schedule", kind, kinds)

    def factor(step: jax.typing.ArrayLike) -> jax.Array:
        return jnp.asarray(kinds[kind](jnp.asarray(step, jnp.float32)), jnp.float32)

    return factor
