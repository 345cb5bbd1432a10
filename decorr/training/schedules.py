"""How a number shrinks over training, as optax has it."""

import functools

import jax
import jax.numpy as jnp
import optax

from decorr.config import Schedule

LAST = 0.01
"""What an exponential schedule comes down to."""


@functools.cache
def schedule(kind: Schedule, steps: int) -> optax.Schedule:
    """The factor of step t = 0, 1, ..., steps - 1, float32: 1 at first.

    constant: 1. cosine: (1 + cos(pi t / steps)) / 2, which ends at 0. exponential: 0.01^(t / steps). The same
    function for the same arguments, so that networks which share them share their programs.

    Args:
      kind: constant, cosine or exponential.
      steps: of the whole training.

    Raises:
      ValueError: another kind, or no step.

    Source: optax.cosine_decay_schedule, optax.exponential_decay.
    """
    if steps < 1:
        raise ValueError(f"a schedule needs at least one step; got {steps}")
    kinds = {
        "constant": optax.constant_schedule(1.0),
        "cosine": optax.cosine_decay_schedule(1.0, steps),
        "exponential": optax.exponential_decay(1.0, steps, LAST),
    }
    if kind not in kinds:
        raise ValueError(f"unknown schedule {kind!r}; the schedules are {', '.join(kinds)}")

    def factor(step: jax.typing.ArrayLike) -> jax.Array:
        return jnp.asarray(kinds[kind](jnp.asarray(step, jnp.float32)), jnp.float32)

    return factor
