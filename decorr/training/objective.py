"""The numbers that training minimises and reports: negative log-likelihood, error rate, regularised loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from decorr.penalties import correlation_penalty


def negative_log_likelihood(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the mean negative log-likelihood: -mean_k log softmax(logits^(k))[label^(k)].

    Args:
      logits: [..., class], floating point.
      labels: [...], integer class indices.

    Returns:
      A scalar in nats; NaN for a label that is not a class.

    Raises:
      TypeError: labels that are not integers.
      ValueError: labels whose shape is not [...], the shape of the logits without the class axis.

    Source: Simon, Section 1.3; optax.softmax_cross_entropy_with_integer_labels.
    """
    _check_labels(logits, labels)
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    # A label that is too large gives NaN already. A negative label would count from the last class.
    return jnp.where(labels < 0, jnp.nan, nll).mean()


def error_rate(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the share of samples, in [0, 1], whose largest logit is not that of their label.

    Args:
      logits: [..., class]; the first NaN counts as the largest logit.
      labels: [...], integer class indices; a label that is not a class counts as an error.

    Returns:
      A float32 scalar.

    Raises:
      TypeError, ValueError: as in `negative_log_likelihood`.
    """
    _check_labels(logits, labels)
    return jnp.mean(jnp.argmax(logits, axis=-1) != labels, dtype=jnp.float32)


def _check_labels(logits: jax.Array, labels: jax.Array) -> None:
    if jnp.shape(labels) != jnp.shape(logits)[:-1]:
        raise ValueError(
            f"there must be one label for each row of logits; got {jnp.shape(labels)} for {jnp.shape(logits)}"
        )
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise TypeError(f"labels must be integers; got {jnp.result_type(labels)}")


def regularised_loss(
    logits: jax.Array,
    labels: jax.Array,
    activations: tuple[jax.Array, ...],
    penalty_weight: jax.typing.ArrayLike | None,
    penalty: Callable[[jax.Array], jax.Array] = correlation_penalty,
) -> jax.Array:
    """Returns the training loss: negative log-likelihood + penalty_weight * sum over layers of P.

    Args:
      logits: [..., class], floating point.
      labels: [...], integer class indices.
      activations: one array [..., unit] for each hidden layer.
      penalty_weight: scalar, may be traced; None: no penalty, and no cost.
      penalty: a scalar function of one layer's activations.

    Returns:
      A scalar in nats.

    Raises:
      TypeError: activations given as one array instead of one for each layer; labels that
        `negative_log_likelihood` rejects.
      ValueError: a layer whose first axis differs in size from that of the logits; labels that
        `negative_log_likelihood` rejects.

    Source: Simon, Section 3.1: P of each layer is added with the same weight.
    """
    loss = negative_log_likelihood(logits, labels)
    if penalty_weight is None:
        return loss
    if hasattr(activations, "shape"):
        raise TypeError(
            f"activations must be a tuple, one array for each layer; got one array {activations.shape}"
        )
    for layer, a in enumerate(activations):
        if jnp.shape(a)[:1] != jnp.shape(logits)[:1]:
            raise ValueError(
                f"every layer must have the same samples as the logits, {jnp.shape(logits)}; "
                f"layer {layer} has {jnp.shape(a)}"
            )
    return loss + penalty_weight * sum(penalty(a) for a in activations)
