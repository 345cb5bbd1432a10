"""Measurements of a trained network: errors, penalties and correlation histograms of its layers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from decorr.penalties import correlation_penalty
from decorr.streaming import CorrelationState
from decorr.training.objective import error_rate, negative_log_likelihood
from decorr.training.split import Split
from decorr.training.steps import Activations, Trainer
from decorr.training.subsample import subsample

BINS = 40
"""The number of bins of |rho| from 0 to 1. Their width is 0.025, as in Figure 1. Four of these bins make one
bin of Figure 2."""

CHUNK = 500
"""The largest number of samples that go through the network at once. A larger minibatch is not split. The
activations of 500 samples fit in a CPU's cache."""

MINIBATCHES = 100
"""The least number of minibatches over which P is averaged, unless a set has fewer. For MNIST, 100
minibatches are half of the validation set. For fully connected networks, P is then within 1% of the mean over
all minibatches."""


class Evaluation(NamedTuple):
    """Measurements of a network on a whole set, without dropout."""

    nll: jax.Array
    """[], the mean negative log-likelihood, in nats."""
    error: jax.Array
    """[], the error rate, in [0, 1]."""
    penalty: jax.Array
    """[layer], the mean of P over minibatches of the training size, evenly spaced over the set. P is measured
    even if training used another penalty."""
    mean_correlation: jax.Array
    """[layer], the mean |rho| over pairs of units, where rho is computed over the whole set."""
    correlation: tuple[jax.Array, ...]
    """The correlation matrix [unit, unit] of each hidden layer, from which `mean_correlation` is computed."""


class _Sums(NamedTuple):
    """Sums over the samples that have gone through the network."""

    nll: jax.Array
    errors: jax.Array
    correlation: tuple[CorrelationState, ...]
    """The state of each layer."""

    def update(self, logits: jax.Array, labels: jax.Array, activations: Activations) -> "_Sums":
        """Adds these samples to the sums. `activations` may have only some positions of a layer."""
        states = zip(self.correlation, activations, strict=True)
        return _Sums(
            nll=self.nll + len(labels) * negative_log_likelihood(logits, labels),
            errors=self.errors + len(labels) * error_rate(logits, labels),
            correlation=tuple(state.update(a) for state, a in states),
        )

    def evaluation(self, samples: int, penalty: jax.Array) -> Evaluation:
        """Computes the evaluation from the sums over `samples` samples."""
        correlation = tuple(state.correlation() for state in self.correlation)
        return Evaluation(
            nll=self.nll / samples,
            error=self.errors / samples,
            penalty=penalty,
            mean_correlation=jnp.stack([mean_absolute(rho) for rho in correlation]),
            correlation=correlation,
        )


def evaluate(trainer: Trainer, variables: Any, data: Split) -> Evaluation:
    """Evaluates one network on a whole split, without dropout.

    P depends on the number of samples (see `decorr.independent_penalty`). So P is averaged over minibatches
    of the training size, in stored order, to be comparable with training. In a large set, only every k-th
    minibatch is used, but at least `MINIBATCHES` of them. All other measurements use all samples. For a layer
    with positions, `subsample` draws some positions with a fixed key. For P, it draws at most
    `Trainer.max_samples` positions from each minibatch, as in training. For the correlations, the same limit
    holds for the whole set, but each sample gives at least one position.

    Args:
      trainer: the model, and the minibatch size, which is m in P; static.
      variables: the model's variables, such as `TrainingState.variables`.
      data: a split with at least one minibatch.

    Returns:
      An Evaluation.

    Raises:
      ValueError: fewer samples than one minibatch.

    Numerics:
      Correlations as in `CorrelationState`.
    """
    samples, size = data.labels.shape[0], trainer.batch_size
    batches = samples // size
    if batches < 1:
        raise ValueError(f"a minibatch of {size} needs at least {size} samples; got {samples}")
    whole = batches * size
    together = largest_divisor(batches, CHUNK // size)  # minibatches per chunk
    spacing = largest_divisor(together, batches // MINIBATCHES)
    positions = max(1, trainer.max_samples // samples)  # positions per sample, for the correlations

    def add(sums: _Sums, numbers: jax.Array, images: Any, labels: Any) -> tuple[_Sums, Activations]:
        """Adds some minibatches. Returns the sums, and the activations [minibatch, sample, ...]."""
        x, labels = data._replace(images=images, labels=labels).batch(...)
        logits, activations = trainer.model.apply(variables, x)
        length = len(labels) // len(numbers)
        activations = tuple(a.reshape(-1, length, *a.shape[1:]) for a in activations)
        return sums.update(logits, labels, _draw(activations, numbers, positions * length)), activations

    def chunk(sums: _Sums, samples: tuple[jax.Array, Any, Any]) -> tuple[_Sums, jax.Array]:
        sums, activations = add(sums, *samples)
        spaced, numbers = jax.tree.map(lambda a: a[::spacing], (activations, samples[0]))
        penalised = _draw(spaced, numbers, trainer.max_samples)
        return sums, jnp.stack([jax.vmap(correlation_penalty)(a).sum() for a in penalised])

    _, shapes = jax.eval_shape(lambda: trainer.model.apply(variables, data.batch(slice(size))[0]))
    zero = jnp.zeros((), jnp.float32)
    sums = _Sums(zero, zero, tuple(CorrelationState.init(a.shape[-1]) for a in shapes))
    arrays = jnp.arange(batches), data.images[:whole], data.labels[:whole]
    chunks = jax.tree.map(lambda a: a.reshape(batches // together, -1, *a.shape[1:]), arrays)
    sums, penalties = jax.lax.scan(chunk, sums, chunks)
    if whole < samples:
        sums, _ = add(sums, jnp.array([batches]), data.images[whole:], data.labels[whole:])
    return sums.evaluation(samples, penalties.sum(axis=0) / (batches // spacing))


def _draw(activations: Activations, numbers: jax.Array, max_samples: int) -> Activations:
    """Draws samples from activations [minibatch, sample, ...]. Each minibatch's index seeds its draw."""
    key = jax.random.key(0)
    return jax.vmap(lambda a, number: subsample(a, key, number, max_samples))(activations, numbers)


def largest_divisor(n: int, most: int) -> int:
    """Returns the largest divisor of n that is at most `most`, or 1 if `most` is below 1."""
    return max(i for i in range(1, max(1, most) + 1) if n % i == 0)


def mean_absolute(rho: jax.Array) -> jax.Array:
    """Returns the mean of |rho_ij| over pairs i != j of a matrix [unit, unit]; NaN for a single unit."""
    d = rho.shape[0]
    total: jax.Array = jnp.sum(jnp.abs(rho), where=~jnp.eye(d, dtype=bool))
    mean: jax.Array = total / jnp.float32(d * (d - 1))
    return mean


def histogram(rho: jax.Array, bins: int = BINS) -> jax.Array:
    """Returns the distribution of |rho_ij| over pairs i != j, as in Figures 1 and 2.

    Args:
      rho: correlations [unit, unit], of at least two units.
      bins: number of equal bins from 0 to 1; the last one includes 1.

    Returns:
      Fractions [bin] with sum 1; all NaN if any entry of rho is not finite.
    """
    d = rho.shape[0]
    index = jnp.clip(jnp.abs(rho) * bins, 0, bins - 1).astype(jnp.int32)
    pairs = (~jnp.eye(d, dtype=bool)).astype(jnp.float32)
    counts = jnp.zeros(bins, jnp.float32).at[index].add(pairs)
    return jnp.where(jnp.isfinite(rho).all(), counts / (d * (d - 1)), jnp.nan)
