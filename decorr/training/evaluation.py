"""What is measured of a trained network: errors, penalties and correlation histograms of its layers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from decorr.correlation import correlation_matrix
from decorr.training.objective import error_rate, negative_log_likelihood
from decorr.training.split import Split
from decorr.training.steps import Trainer

BINS = 40
"""Bins of |rho| from 0 to 1: Figure 1's width 0.025, and four of them make one of Figure 2's."""


class Evaluation(NamedTuple):
    """A network on a whole set, dropout off."""

    nll: jax.Array
    """[], in nats."""
    error: jax.Array
    """[], in [0, 1]."""
    penalty: jax.Array
    """[layer], the mean of P over minibatches of the training size."""
    mean_correlation: jax.Array
    """[layer], the mean |rho| over pairs of units, the whole set at once."""
    correlation: tuple[jax.Array, ...]
    """The matrices behind it, one [unit, unit] for each hidden layer."""


def evaluate(trainer: Trainer, params: Any, data: Split) -> Evaluation:
    """Evaluates one network on a whole split, without dropout.

    P depends on the number of samples (`decorr.independent_penalty`), so it is taken over minibatches
    of the training size in stored order, to be comparable with what training saw; the rest uses all samples.

    Args:
      trainer: the model, its penalty, and the samples of a minibatch, m in P; static.
      params: of the model.
      data: a split of at least one minibatch.

    Returns:
      An Evaluation.

    Raises:
      ValueError: fewer samples than one minibatch.
    """
    x, labels = data.batch(...)
    batch_size = trainer.batch_size
    batches = labels.shape[0] // batch_size
    if batches < 1:
        raise ValueError(f"a minibatch of {batch_size} needs as many samples; got {labels.shape[0]}")
    logits, activations = trainer.model.apply({"params": params}, x)

    def minibatch_penalty(a: jax.Array) -> jax.Array:
        minibatches = a[: batches * batch_size].reshape(batches, batch_size, *a.shape[1:])
        penalties: jax.Array = jax.vmap(trainer.penalty)(minibatches)
        return penalties.mean()

    correlation = tuple(map(correlation_matrix, activations))
    return Evaluation(
        nll=negative_log_likelihood(logits, labels),
        error=error_rate(logits, labels),
        penalty=jnp.stack([minibatch_penalty(a) for a in activations]),
        mean_correlation=jnp.stack([mean_absolute(rho) for rho in correlation]),
        correlation=correlation,
    )


def mean_absolute(rho: jax.Array) -> jax.Array:
    """The mean of |rho_ij| over pairs i != j of a matrix [unit, unit]; NaN for a single unit."""
    d = rho.shape[0]
    total: jax.Array = jnp.sum(jnp.abs(rho), where=~jnp.eye(d, dtype=bool))
    mean: jax.Array = total / jnp.float32(d * (d - 1))
    return mean


def histogram(rho: jax.Array, bins: int = BINS) -> jax.Array:
    """The distribution of |rho_ij| over pairs i != j, as in Figures 1 and 2.

    Args:
      rho: correlations [unit, unit], of at least two units.
      bins: number of equal bins from 0 to 1, the last one closed.

    Returns:
      Fractions [bin], of sum 1; all NaN if any entry of rho is not finite.
    """
    d = rho.shape[0]
    index = jnp.clip(jnp.abs(rho) * bins, 0, bins - 1).astype(jnp.int32)
    pairs = (~jnp.eye(d, dtype=bool)).astype(jnp.float32)
    counts = jnp.zeros(bins, jnp.float32).at[index].add(pairs)
    return jnp.where(jnp.isfinite(rho).all(), counts / (d * (d - 1)), jnp.nan)
