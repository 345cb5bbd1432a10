"""Training one network: its state, one step, and whole epochs as one `lax.scan`.

The caller vmaps over runs: everything that may differ between runs (parameters, seed, penalty weight,
dropout rate) is an array in the state; what shapes the program (model, optimisation) is static.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from decorr.config import Optimisation, Regulariser
from decorr.correlation import correlation_matrix
from decorr.data import Split
from decorr.models import MLP
from decorr.objective import error_rate, negative_log_likelihood, regularised_loss

# A regulariser's numbers are traced: networks that differ only in them share one program. A None stays
# out of the program altogether.
jax.tree_util.register_dataclass(Regulariser, ["penalty_weight", "dropout_rate"], [])


class TrainingState(struct.PyTreeNode):
    """All that training one network needs to go on: a PyTree.

    Fields: params and opt_state, of `model` and of optax; key, a typed JAX key, the run's seed; step []
    int32, minibatches seen; regulariser, numbers or None; model and optimisation, static.
    """

    params: dict
    opt_state: optax.OptState
    key: jax.Array
    step: jax.Array
    regulariser: Regulariser
    model: MLP = struct.field(pytree_node=False)
    optimisation: Optimisation = struct.field(pytree_node=False)


class EpochMetrics(NamedTuple):
    """Means over the minibatches of an epoch, as trained: parameters moving, dropout acting.

    Fields: nll [] in nats, without the penalty; error [] in [0, 1]. Of several epochs, [epoch].
    """

    nll: jax.Array
    error: jax.Array


class _Keys(NamedTuple):
    init: jax.Array
    order: jax.Array
    dropout: jax.Array


def _keys(key: jax.Array) -> _Keys:
    return _Keys(*jax.random.split(key, 3))


def optimiser(optimisation: Optimisation) -> optax.GradientTransformation:
    """Stochastic gradient descent as optax: v <- momentum v + (g + weight_decay w); w <- w - rate v."""
    return optax.chain(
        optax.add_decayed_weights(optimisation.weight_decay),
        optax.sgd(optimisation.learning_rate, optimisation.momentum or None),
    )


def init(
    key: jax.Array, model: MLP, optimisation: Optimisation, regulariser: Regulariser, features: int
) -> TrainingState:
    """The state before the first step.

    The key alone decides the initial parameters and the order of the minibatches, so that runs of one
    seed are paired across variants.

    Args:
      key: a typed JAX key (`jax.random.key`), the run's seed.
      model: the network.
      optimisation: the optimiser's numbers; static.
      regulariser: penalty weight and dropout rate, numbers or None.
      features: length of an input vector.

    Returns:
      A TrainingState; all its numbers are arrays, ready for `vmap` and `lax.scan`.
    """
    params = model.init(_keys(key).init, jnp.zeros((1, features)))["params"]
    return TrainingState(
        params=params,
        opt_state=optimiser(optimisation).init(params),
        key=key,
        step=jnp.zeros((), jnp.int32),
        regulariser=jax.tree.map(lambda number: jnp.asarray(number, jnp.float32), regulariser),
        model=model,
        optimisation=optimisation,
    )


def step(
    state: TrainingState, x: jax.Array, labels: jax.Array
) -> tuple[TrainingState, tuple[jax.Array, jax.Array, tuple[jax.Array, ...]]]:
    """One step of gradient descent on one minibatch.

    Args:
      state: the state before.
      x: inputs [batch, feature], float32.
      labels: [batch], integer.

    Returns:
      The state after, and (nll, error, activations) of the minibatch before the update.
    """
    key = jax.random.fold_in(_keys(state.key).dropout, state.step)

    def loss(params):
        outputs: Any = state.model.apply(
            {"params": params}, x, state.regulariser.dropout_rate, rngs={"dropout": key}
        )
        logits, activations = outputs
        value = regularised_loss(logits, labels, activations, state.regulariser.penalty_weight)
        return value, (logits, activations)

    gradient, (logits, activations) = jax.grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimiser(state.optimisation).update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    seen = negative_log_likelihood(logits, labels), error_rate(logits, labels), activations
    return state.replace(params=params, opt_state=opt_state, step=state.step + 1), seen


def minibatches(key: jax.Array, step: jax.Array | int, samples: int, batch_size: int) -> jax.Array:
    """Which samples make each minibatch of an epoch: a fresh permutation, cut into minibatches.

    Args:
      key: the run's seed, as in `TrainingState.key`.
      step: minibatches trained before, as in `TrainingState.step`; tells the epoch, may be traced.
      samples: how many there are; static.
      batch_size: samples a minibatch; static. An incomplete last minibatch is left out.

    Returns:
      Indices [minibatch, batch], int32.

    Raises:
      ValueError: fewer samples than one minibatch.
    """
    batches = samples // batch_size
    if batches < 1:
        raise ValueError(f"a minibatch of {batch_size} needs as many samples; got {samples}")
    order = jax.random.permutation(jax.random.fold_in(_keys(key).order, step // batches), samples)
    return order[: batches * batch_size].reshape(batches, batch_size)


def train_epoch(
    state: TrainingState, data: Split, order: jax.Array, *, observe: jax.typing.ArrayLike = False
) -> tuple[TrainingState, EpochMetrics, tuple[jax.Array, ...]]:
    """Trains on minibatches in a given order, in one `lax.scan`.

    Args:
      state: where to start.
      data: the training split.
      order: indices [minibatch, batch] of its samples, such as `minibatches` gives.
      observe: whether to average the correlations too, a bool that may be traced. Costs a d x d product
        a layer and step.

    Returns:
      The state after; EpochMetrics of scalars; and for each hidden layer [unit, unit] the mean over the
      minibatches of the signed correlation matrix, undefined entries counted as 1: what the paper's
      Figures 1 and 2 show the absolute value of. All 0 if not observed.

    Source: Simon, Section 1.3; the author's released code.
    """

    def minibatch(carry, index):
        state, metrics, correlation = carry
        state, (nll, error, activations) = step(state, *data.batch(index))
        correlation = jax.lax.cond(
            observe,
            lambda: tuple(
                total + correlation_matrix(a, undefined=1.0)
                for total, a in zip(correlation, activations, strict=True)
            ),
            lambda: correlation,
        )
        return (state, EpochMetrics(metrics.nll + nll, metrics.error + error), correlation), None

    start = state, EpochMetrics(jnp.zeros(()), jnp.zeros(())), _nothing_observed(state)
    (state, *sums), _ = jax.lax.scan(minibatch, start, order)
    metrics, correlation = jax.tree.map(lambda total: total / len(order), tuple(sums))
    return state, metrics, correlation


def train_epochs(
    state: TrainingState, data: Split, n: int, *, observe: jax.typing.ArrayLike = False
) -> tuple[TrainingState, EpochMetrics, tuple[jax.Array, ...]]:
    """Trains for `n` epochs, each over a fresh permutation of the data, in one `lax.scan`.

    Training n epochs and then k is training n + k, bit for bit: permutations and masks are functions of
    the key and the step alone.

    Args:
      state: where to start, at the beginning of an epoch.
      data: the training split; state.optimisation.batch_size samples make a minibatch.
      n: number of epochs, at least 1, static.
      observe: as in `train_epoch`.

    Returns:
      What `train_epoch` does, the metrics with a leading epoch axis, the correlations of the last epoch.

    Raises:
      ValueError: fewer samples than one minibatch, or no epoch.
    """
    if n < 1:
        raise ValueError(f"training needs at least one epoch; got {n}")
    samples, batch_size = data.labels.shape[0], state.optimisation.batch_size

    def epoch(carry, _):
        state, _ = carry
        order = minibatches(state.key, state.step, samples, batch_size)
        state, metrics, correlation = train_epoch(state, data, order, observe=observe)
        return (state, correlation), metrics

    (state, correlation), metrics = jax.lax.scan(epoch, (state, _nothing_observed(state)), length=n)
    return state, metrics, correlation


def _nothing_observed(state: TrainingState) -> tuple[jax.Array, ...]:
    return tuple(jnp.zeros((d, d)) for d in state.model.architecture.widths)
