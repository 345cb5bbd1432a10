"""What is measured of a trained network: errors, penalties and correlation histograms of its layers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from decorr.correlation import correlation_matrix
from decorr.training.objective import error_rate, negative_log_likelihood
from decorr.training.seen import seen
from decorr.training.split import Split
from decorr.training.steps import Activations, Trainer

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
    Of a layer with positions both see what `seen` draws, by a fixed key: P as many of a minibatch as in
    training, the correlations as many of the whole set, but at least one position of each sample.

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
    _, shapes = jax.eval_shape(lambda: trainer.model.apply({"params": params}, x))
    flat = all(len(shape.shape) == 2 for shape in shapes)
    logits, activations, penalty = (_at_once if flat else _by_minibatch)(trainer, params, x)
    correlation = tuple(map(correlation_matrix, activations))
    return Evaluation(
        nll=negative_log_likelihood(logits, labels),
        error=error_rate(logits, labels),
        penalty=penalty,
        mean_correlation=jnp.stack([mean_absolute(rho) for rho in correlation]),
        correlation=correlation,
    )


def _at_once(trainer: Trainer, params: Any, x: jax.Array) -> tuple[jax.Array, Activations, jax.Array]:
    """Logits, the activations whose correlations are taken, and P [layer]: of layers without positions."""
    batch_size = trainer.batch_size
    batches = x.shape[0] // batch_size
    logits, activations = trainer.model.apply({"params": params}, x)

    def minibatch_penalty(a: jax.Array) -> jax.Array:
        minibatches = a[: batches * batch_size].reshape(batches, batch_size, *a.shape[1:])
        penalties: jax.Array = jax.vmap(trainer.penalty)(minibatches)
        return penalties.mean()

    return logits, activations, jnp.stack([minibatch_penalty(a) for a in activations])


def _by_minibatch(trainer: Trainer, params: Any, x: jax.Array) -> tuple[jax.Array, Activations, jax.Array]:
    """The same of layers with positions: only one minibatch's maps are in memory at a time."""
    samples, batch_size = x.shape[0], trainer.batch_size
    whole = samples // batch_size * batch_size
    key = jax.random.key(0)
    each = max(1, trainer.max_samples // samples)  # positions of a sample, in the correlations

    def outputs(x: jax.Array, number: jax.typing.ArrayLike) -> tuple[jax.Array, Activations, Activations]:
        logits, activations = trainer.model.apply({"params": params}, x)
        return logits, activations, seen(activations, key, number, each * x.shape[0])

    def of_minibatch(number: jax.Array) -> tuple[jax.Array, Activations, jax.Array]:
        minibatch = jax.lax.dynamic_slice_in_dim(x, number * batch_size, batch_size)
        logits, activations, kept = outputs(minibatch, number)
        sampled = seen(activations, key, number, trainer.max_samples)
        return logits, kept, jnp.stack([trainer.penalty(a) for a in sampled])

    *parts, penalties = jax.lax.map(of_minibatch, jnp.arange(whole // batch_size))
    logits, activations = jax.tree.map(lambda part: part.reshape(whole, *part.shape[2:]), tuple(parts))
    if whole < samples:
        left, _, kept = outputs(x[whole:], whole // batch_size)
        join = lambda part, rest: jnp.concatenate([part, rest])  # noqa: E731
        logits, activations = jax.tree.map(join, (logits, activations), (left, kept))
    return logits, activations, penalties.mean(axis=0)


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
