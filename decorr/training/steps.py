"""Training one network: its state, one step, and whole epochs as one `lax.scan`.

The caller vmaps over runs. Everything that may differ between runs is an array in the state: parameters,
seed, penalty weight, dropout rate. The trainer is static, and holds everything on which the compiled program
depends.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from decorr.config import Optimisation, Regulariser
from decorr.correlation import correlation_matrix
from decorr.penalties import correlation_penalty
from decorr.training.objective import error_rate, negative_log_likelihood, regularised_loss
from decorr.training.order import Keys, minibatches
from decorr.training.schedules import schedule
from decorr.training.split import Split
from decorr.training.subsample import MAX_SAMPLES, subsample

Activations = tuple[jax.Array, ...]


class Model(Protocol):
    """A network with a Linen module's methods. Its `apply` also returns activations: see `decorr.models`."""

    def init(self, rngs: Any, *args: Any) -> Any:
        """init(key, x) -> variables. Training changes `params`."""

    def apply(self, variables: Any, *args: Any, **options: Any) -> Any:
        """apply(variables, x, dropout_rate, rngs={"dropout": key}) -> (logits, activations).

        Logits are [..., class]. Activations are a tuple with one array for each hidden layer: [..., unit], or
        with positions [..., row, column, unit]. Without a rate, dropout is off. A model whose variables have
        "batch_stats" is trained with train=True, mutable=["batch_stats"]. Then `apply` also returns the
        changed collections, like a Linen module.
        """


@dataclass(frozen=True)
class Trainer:
    """Everything on which the compiled program of a training step depends.

    A trainer is hashable, so it can be static under `jit`.
    """

    model: Model
    """The network."""
    optimiser: optax.GradientTransformation
    """Any optimiser of optax whose update takes only params, value, grad and value_fn. A separate program is
    compiled for each optimiser object. `sgd` returns the same object for equal arguments."""
    batch_size: int
    """Samples per minibatch."""
    penalty: Callable[[jax.Array], jax.Array] = correlation_penalty
    """A scalar function of one layer's activations [..., unit]."""
    penalty_schedule: optax.Schedule | None = None
    """A function that maps the step to a factor, which multiplies the penalty's weight. None: the factor is
    always 1."""
    max_samples: int = MAX_SAMPLES
    """In a layer with positions, the penalty and the correlations use at most this many samples of a
    minibatch."""


class TrainingState(NamedTuple):
    """A PyTree of arrays, with everything that is needed to continue training a network."""

    params: Any
    """The model's parameters."""
    opt_state: optax.OptState
    """The optimiser's state."""
    key: jax.Array
    """A typed JAX key, the run's seed."""
    step: jax.Array
    """[] int32, the number of minibatches trained on so far."""
    regulariser: Regulariser
    """Penalty weight and dropout rate: numbers, or None. Networks that differ only in these numbers share one
    program. A field that is None costs nothing."""
    batch_stats: Any
    """Running statistics of the model's normalisation; {} if it has none."""

    @property
    def variables(self) -> dict[str, Any]:
        """The variables that the model's `apply` gets."""
        statistics = {"batch_stats": self.batch_stats} if self.batch_stats else {}
        return {"params": self.params, **statistics}


class Minibatch(NamedTuple):
    """Measurements of one minibatch in a training step, before the update and with dropout."""

    nll: jax.Array
    """[], the mean negative log-likelihood in nats, without the penalty."""
    error: jax.Array
    """[], the error rate, in [0, 1]."""
    activations: Activations
    """For each hidden layer, an array [batch, unit], or with positions [batch, ..., unit]."""


class EpochMetrics(NamedTuple):
    """Means over the minibatches of an epoch, measured while parameters change, with dropout.

    For several epochs, the arrays have a leading axis [epoch].
    """

    nll: jax.Array
    """[], the mean negative log-likelihood in nats, without the penalty."""
    error: jax.Array
    """[], the error rate, in [0, 1]."""


@functools.cache
def sgd(optimisation: Optimisation, steps: int | None = None) -> optax.GradientTransformation:
    """Returns optax's stochastic gradient descent: v <- momentum v + (g + weight_decay w); w <- w - rate v.

    Equal arguments give the same object, so networks with equal arguments share a program.

    Args:
      optimisation: learning rate, momentum, weight decay and schedule.
      steps: the number of steps of the whole training. Only a shrinking learning rate needs this number.

    Raises:
      ValueError: a shrinking learning rate without `steps`.
    """
    return optax.chain(
        optax.add_decayed_weights(optimisation.weight_decay),
        optax.sgd(_rate(optimisation, steps), optimisation.momentum or None),
    )


def _rate(optimisation: Optimisation, steps: int | None) -> optax.ScalarOrSchedule:
    if optimisation.schedule == "constant":
        return optimisation.learning_rate
    if steps is None:
        raise ValueError(f"a learning rate that shrinks ({optimisation.schedule}) needs the number of steps")
    factor = schedule(optimisation.schedule, steps)
    return lambda step: optimisation.learning_rate * factor(step)


def init(
    trainer: Trainer, key: jax.Array, regulariser: Regulariser, sample: jax.typing.ArrayLike
) -> TrainingState:
    """Returns the state before the first step.

    The key alone decides the initial parameters and the order of the minibatches. So runs with the same seed
    are paired across variants.

    Args:
      trainer: model and optimiser.
      key: a typed JAX key (`jax.random.key`), the run's seed.
      regulariser: penalty weight and dropout rate, numbers or None.
      sample: inputs [1, feature], with the number of features and the dtype of the training data. The values
        of the inputs do not matter.

    Returns:
      A TrainingState; all its numbers are arrays, ready for `vmap` and `lax.scan`.
    """
    variables = trainer.model.init(Keys.of(key).init, jnp.asarray(sample))
    params = variables["params"]
    return TrainingState(
        params=params,
        opt_state=trainer.optimiser.init(params),
        key=key,
        step=jnp.zeros((), jnp.int32),
        regulariser=jax.tree.map(lambda number: jnp.asarray(number, jnp.float32), regulariser),
        batch_stats=variables.get("batch_stats", {}),
    )


def step(
    trainer: Trainer, state: TrainingState, x: jax.Array, labels: jax.Array
) -> tuple[TrainingState, Minibatch]:
    """Takes one step of gradient descent on one minibatch.

    In layers with positions, the penalty uses some positions, which `subsample` draws anew in every step.

    Args:
      trainer: model, optimiser and penalty; static.
      state: the state before the step.
      x: inputs [batch, feature], float32.
      labels: [batch], integer.

    Returns:
      The state after the step, and the measurements of the minibatch before the update.
    """
    key = jax.random.fold_in(Keys.of(state.key).dropout, state.step)
    weight, rate = state.regulariser
    if weight is not None and trainer.penalty_schedule is not None:
        weight = weight * trainer.penalty_schedule(state.step)
    draw = state.key, state.step, trainer.max_samples

    def outputs(params: Any) -> tuple[tuple[jax.Array, Activations], Any]:
        variables, rngs = state._replace(params=params).variables, {"dropout": key}
        if not state.batch_stats:
            return trainer.model.apply(variables, x, rate, rngs=rngs), {}
        logits_and_activations, changed = trainer.model.apply(
            variables, x, rate, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return logits_and_activations, changed["batch_stats"]

    def loss(params: Any) -> tuple[jax.Array, tuple[jax.Array, Activations, Any]]:
        (logits, activations), batch_stats = outputs(params)
        sampled = activations if weight is None else subsample(activations, *draw)
        value = regularised_loss(logits, labels, sampled, weight, trainer.penalty)
        return value, (logits, activations, batch_stats)

    (value, (logits, activations, batch_stats)), gradient = jax.value_and_grad(loss, has_aux=True)(
        state.params
    )
    updates, opt_state = optax.with_extra_args_support(trainer.optimiser).update(
        gradient,
        state.opt_state,
        state.params,
        value=value,
        grad=gradient,
        value_fn=lambda params: loss(params)[0],
    )
    params = optax.apply_updates(state.params, updates)
    nll, error = negative_log_likelihood(logits, labels), error_rate(logits, labels)
    state = state._replace(params=params, opt_state=opt_state, step=state.step + 1, batch_stats=batch_stats)
    return state, Minibatch(nll, error, activations)


def train_epoch(
    trainer: Trainer,
    state: TrainingState,
    data: Split,
    order: jax.Array,
    *,
    observe: jax.typing.ArrayLike = False,
) -> tuple[TrainingState, EpochMetrics, Activations]:
    """Trains on minibatches in a given order, in one `lax.scan`.

    Args:
      trainer: model, optimiser and penalty; static.
      state: the state to start from.
      data: the training split.
      order: indices [minibatch, batch] of the split's samples, such as `minibatches` gives.
      observe: whether to also compute the averaged correlations; a bool that may be traced. If True, each
        step computes one more [unit, unit] matrix for each layer.

    Returns:
      The state after these minibatches; EpochMetrics of scalars; and, for each hidden layer, the correlation
      matrix [unit, unit]. This matrix is averaged over the minibatches, and undefined entries count as 1. The
      paper's Figures 1 and 2 show its absolute value. In layers with positions, the matrix covers the samples
      that the penalty uses. Without `observe`, the matrix is all 0.

    Source: Simon, Section 1.3; the author's released code.
    """

    def one_step(carry: Any, index: jax.Array) -> tuple[Any, None]:
        state, metrics, correlation = carry
        draw = state.key, state.step, trainer.max_samples
        state, minibatch = step(trainer, state, *data.batch(index))
        correlation = jax.lax.cond(
            observe,
            lambda: tuple(
                total + correlation_matrix(a, undefined=1.0)
                for total, a in zip(correlation, subsample(minibatch.activations, *draw), strict=True)
            ),
            lambda: correlation,
        )
        metrics = EpochMetrics(metrics.nll + minibatch.nll, metrics.error + minibatch.error)
        return (state, metrics, correlation), None

    zero = jnp.zeros((), jnp.float32)
    start = state, EpochMetrics(zero, zero), _no_correlations(trainer, state, data)
    (state, *sums), _ = jax.lax.scan(one_step, start, order)
    metrics, correlation = jax.tree.map(lambda total: total / len(order), tuple(sums))
    return state, metrics, correlation


def train_epochs(
    trainer: Trainer, state: TrainingState, data: Split, n: int, *, observe: jax.typing.ArrayLike = False
) -> tuple[TrainingState, EpochMetrics, Activations]:
    """Trains for `n` epochs, each over a fresh permutation of the data, in one `lax.scan`.

    This function is for a notebook or a script: one call does a whole training. `experiments` trains one
    epoch per call, so that it can evaluate and save in between.

    Training for n epochs and then for k epochs gives the same bits as training for n + k epochs. The reason
    is that permutations and dropout masks depend only on the key and the step.

    Args:
      trainer: model, optimiser, penalty and minibatch size; static.
      state: the state to start from, at the beginning of an epoch.
      data: the training split.
      n: number of epochs, at least 1, static.
      observe: as in `train_epoch`.

    Returns:
      As in `train_epoch`, but the metrics have a leading epoch axis, and the correlations are those of the
      last epoch.

    Raises:
      ValueError: fewer samples than one minibatch, or n below 1.
    """
    if n < 1:
        raise ValueError(f"training needs at least one epoch; got {n}")
    samples = data.labels.shape[0]

    def epoch(carry: Any, _: None) -> tuple[Any, EpochMetrics]:
        state, _ = carry
        order = minibatches(state.key, state.step, samples, trainer.batch_size)
        state, metrics, correlation = train_epoch(trainer, state, data, order, observe=observe)
        return (state, correlation), metrics

    start = state, _no_correlations(trainer, state, data)
    (state, correlation), metrics = jax.lax.scan(epoch, start, length=n)
    return state, metrics, correlation


def _no_correlations(trainer: Trainer, state: TrainingState, data: Split) -> Activations:
    """Returns zeros for each hidden layer, in the shape of its correlation matrix."""
    x, _ = jax.eval_shape(lambda: data.batch(jnp.zeros(1, jnp.int32)))
    _, activations = jax.eval_shape(trainer.model.apply, state.variables, x)
    return tuple(jnp.zeros((a.shape[-1],) * 2, jnp.float32) for a in activations)
