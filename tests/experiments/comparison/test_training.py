"""Trials: of the same draws for all, trained as sweeps train, stopped and looked at where they should."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from decorr.config import Optimisation, Regulariser
from decorr.penalties import decov_loss
from decorr.training import evaluation, steps
from experiments.comparison import training
from experiments.comparison.methods import METHODS, Numbers, Setting, steps_for
from experiments.comparison.trials import Trials
from experiments.data.load import load
from experiments.run.epochs import model_of

SETTING = Setting("digits", 300, steps=20, trials=3, seeds=2, report_seeds=2, moments=4)


pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def train(method, numbers, digits, seeds=(0, 1), test_moment=None, setting=SETTING):
    trials = Trials(setting, method, tuple(numbers), 0, seeds, test_moment)
    events = list(training.train(trials, digits, None, 0.0, jax.devices()[:1]))
    assert [moment for moment, _ in events] == list(range(setting.moments + 1))
    assert all(found is None for _, found in events[:-1])
    return events[-1][1]


def test_trials_are_the_same_draws_for_all_methods_within_their_ranges():
    setting = dataclasses.replace(SETTING, trials=12)
    numbers = {name: setting.numbers(method) for name, method in METHODS.items()}
    rates = [each.learning_rate for each in numbers["vanilla"]]
    assert len(set(rates)) == 12 and 0.01 <= min(rates) < 0.02 and 0.2 < max(rates) <= 0.3
    for each in numbers.values():
        assert [trial.learning_rate for trial in each] == rates
    places = {
        "dropout": [(each.dropout_rate - 0.05) / 0.55 for each in numbers["dropout"]],
        "weight-decay": [math.log(each.weight_decay / 1e-5, 1e3) for each in numbers["weight-decay"]],
        "corr": [math.log(each.penalty_share / 1e-4, 1e4) for each in numbers["corr"]],
    }
    np.testing.assert_allclose(places["dropout"], places["corr"])
    np.testing.assert_allclose(places["weight-decay"], places["corr"])
    assert 0 <= min(places["corr"]) < 0.1 and 0.9 < max(places["corr"]) <= 1
    assert {each.weight_decay for name in METHODS if name != "weight-decay" for each in numbers[name]} == {
        1e-4
    }
    # The first points of one sequence: more trials only add some.
    assert dataclasses.replace(SETTING, trials=5).numbers(METHODS["corr"]) == numbers["corr"][:5]


@pytest.mark.parametrize(("images", "steps"), [(500, 5000), (2000, 12000), (50000, 40000), (50, 5000)])
def test_steps_are_those_of_the_table(images, steps):
    assert steps_for(images, 50) == steps
    assert steps_for(1250, 50) % 50 == 0 and 5000 < steps_for(1250, 50) < 12000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 49}, "images must be at least 50; got 49"),
        ({"steps": 21}, "steps must be a multiple of the 4 moments; got 21"),
        ({"report_seeds": 1}, "report seeds must be at least 2; got 1"),
    ],
)
def test_a_setting_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SETTING, **change)


@pytest.mark.slow
def test_networks_are_those_that_steps_train(digits, small_networks):
    """Of two the second; 20 steps are three epochs and two minibatches more."""
    second = Numbers(0.2, 1e-2)
    found = train("vanilla", (Numbers(0.05), second), digits, test_moment=3)
    chosen, model = training.subset(digits.train, 300), model_of("mlp", small_networks, 10, (8, 8, 1))
    key, sample = jax.random.key(1), np.zeros((1, 64), np.float32)
    minibatches = jax.jit(steps.minibatches, static_argnums=(2, 3))
    order = np.concatenate([minibatches(key, 6 * epoch, 300, 50) for epoch in range(4)])
    evaluate = jax.jit(
        functools.partial(evaluation.evaluate, steps.Trainer(model, steps.sgd(Optimisation()), 50))
    )
    optimisation = Optimisation(learning_rate=second.learning_rate, weight_decay=second.weight_decay)
    trainer = steps.Trainer(model, steps.sgd(optimisation), 50)
    state = jax.jit(functools.partial(steps.init, trainer))(key, Regulariser(), sample)
    train_5 = jax.jit(functools.partial(steps.train_epoch, trainer))
    after = [state]
    for first in range(0, 20, 5):
        after.append(train_5(after[-1], chosen, order[first : first + 5])[0])
    test = evaluate(after[3].variables, digits.test)
    np.testing.assert_allclose(found["test_nll"][1, 1], test.nll, rtol=1e-4)
    np.testing.assert_allclose(found["test_error"][1, 1], test.error, atol=1.1 / 297)
    np.testing.assert_allclose(found["test_penalty"][1, 1], test.penalty, rtol=1e-4)
    validation = evaluate(after[4].variables, digits.validation)
    np.testing.assert_allclose(found["validation_nll"][1, 1, -1], validation.nll, rtol=1e-4)


FEW = dataclasses.replace(SETTING, steps=4, moments=1)


def test_a_share_is_of_the_loss_of_guessing(digits):
    numbers = [Numbers(0.05, penalty_share=0.5), Numbers(0.05, penalty_share=0.1)]
    found = train("decov", numbers, digits, (0,), setting=FEW)["penalty_weight"].ravel()
    trainer = training.trainer(Trials(SETTING, "decov", (), 0, ()), digits)

    @jax.jit
    def penalties(x):
        state = steps.init(trainer, jax.random.key(0), Regulariser(), x[:1])
        _, activations = trainer.model.apply(state.variables, x)
        return sum(map(decov_loss, activations))

    x, _ = training.subset(digits.train, 300).batch(...)
    np.testing.assert_allclose(found * float(penalties(x)) / math.log(10), [0.5, 0.1], rtol=1e-5)


def test_numbers_act_and_nobody_looks_at_the_test_split(digits):
    """Of each method the trial's numbers, not another's, and no other's: all trainings differ."""
    values = []
    for name in ("vanilla", "dropout", "weight-decay", "decov"):
        found = train(name, FEW.numbers(METHODS[name])[:2], digits._replace(test=None), (0,), setting=FEW)
        assert not any(key.startswith("test") for key in found)
        values += found["validation_nll"].ravel().tolist()
    assert len(set(values)) == len(values) == 8


def test_steps_may_begin_and_end_within_epochs():
    minibatches, key = jax.jit(steps.minibatches, static_argnums=(2, 3, 4)), jax.random.key(3)
    epochs = np.concatenate([minibatches(key, np.int32(6 * epoch), 300, 50) for epoch in range(4)])
    for start, count in ((0, 6), (4, 5), (5, 14), (11, 1)):
        found = minibatches(key, np.int32(start), 300, 50, count)
        np.testing.assert_array_equal(found, epochs[start : start + count])
