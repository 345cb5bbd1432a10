import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import correlation_penalty
from decorr.models import MLP
from experiments.comparison import corruptions, measures, network, planned, stages, training
from experiments.comparison.recipes import METHODS, Numbers, Recipe
from experiments.comparison.settings import Budget, Setting, Work
from experiments.data.pool import Pool

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 200).astype(np.int32)
POOL = Pool(
    "made up", "0", 2, None, (RNG.normal(size=(200, 6)) + 2 * LABELS[:, None]).astype(np.float32), LABELS
)
PLAIN = dataclasses.replace(
    Recipe(),
    architecture=dataclasses.replace(Recipe().architecture, widths=(4, 4)),
    batch_size=20,
    steps=30,
)
SETTING = Setting("made up", "0", 100, PLAIN, Budget(2, 1, 1, 1, 2))


def trained(work, rows=None):
    events = list(training.TRAINING.run(work, POOL, rows, 0, jax.devices()[:1]))
    return [count for count, _ in events], [row for _, new in events for row in new or ()]


def test_a_method_goes_from_search_to_report_and_on_from_what_is_done():
    work = Work(SETTING, "corr-dropout")
    counts, rows = trained(work)
    assert counts == [0, 1, 2, 3, 4, 5]
    assert [row["stage"] for row in rows] == ["search", "search", "selection", "report", "report"]
    assert all(np.isnan(row.get("test_error", np.nan)) == (row["stage"] != "report") for row in rows)
    assert {"noise_error", "missing_error", "pruned_error", "scaled_nll"} <= rows[-1].keys()
    assert rows[-1]["test_error"] < 0.2
    # Trains the same network again, as after an interruption.
    counts, again = trained(work, rows[:-1])
    assert counts == [4, 5]
    assert {k: v for k, v in again[0].items() if k != "seconds"} == pytest.approx(
        {k: v for k, v in rows[-1].items() if k != "seconds"}
    )


@pytest.mark.slow
def test_copied_slopes_are_those_of_the_other_network():
    released = planned.rungs()["released"]
    small = dataclasses.replace(released.architecture, widths=(4, 4))
    plain = dataclasses.replace(released, architecture=small, batch_size=20, steps=5)
    x, labels, key = POOL.features[:100], POOL.labels[:100], jax.random.key(0)
    recipes = [METHODS[name].recipe(plain) for name in ("corr", "vanilla")]
    numbers = [Numbers(0.1, 1e-4, 0.3), Numbers(0.1, 1e-4)]
    model = network.model_of(plain, 2, None)

    @jax.jit
    def both(x, labels, key):
        _, given = network.fit(recipes[0], model, numbers[0], key, x, labels)
        own = network.fit(recipes[1], model, numbers[1], key, x, labels)
        return given, own, network.fit(recipes[1], model, numbers[1], key, x, labels, given)

    given, (own, own_slopes), (copied, slopes) = both(x, labels, key)
    assert np.array_equal(slopes, given) and np.array_equal(copied["params"]["slope_2"], given[-1, 1])
    assert not np.allclose(own_slopes, given)
    assert not np.allclose(own["params"]["hidden_1"]["kernel"], copied["params"]["hidden_1"]["kernel"])


@pytest.mark.slow
def test_networks_trained_at_once_are_those_trained_alone():
    """On an accelerator, all networks of a stage are one program."""
    device, seeds = jax.devices()[0], (0, 1, 2)
    recipe, numbers = METHODS["corr-dropout"].recipe(PLAIN), SETTING.numbers("corr-dropout")
    runs = [
        training.Run(np.int32(seed), training.floats(numbers[seed % 2]), POOL.sample(100, seed), None)
        for seed in seeds
    ]
    arrays = training.on_device(POOL, device)

    def made(runs, platform):
        stacked = stages.stacked(runs, device)
        variables = training._fitting(recipe, None, 2, None, platform)(stacked, *arrays)
        return variables, training._evaluating(recipe, True, 2, None, platform)(stacked, variables, *arrays)

    alone = [made([run], "cpu") for run in runs]
    expected = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *alone)
    chex.assert_trees_all_close(made(runs, "gpu"), expected, rtol=1e-3, atol=1e-4)


def test_a_penaltys_share_is_that_of_the_loss_of_guessing():
    model = MLP(PLAIN.architecture, 2)
    recipe = METHODS["corr"].recipe(PLAIN)

    @jax.jit
    def weighted(x):
        variables = model.init(jax.random.key(0), x[:1])
        weight = network._penalty_weight(recipe, model, variables, Numbers(0.1, 0.0, 0.25), x)
        _, activations = model.apply(variables, x)
        return weight * sum(map(correlation_penalty, activations))

    np.testing.assert_allclose(weighted(POOL.features), 0.25 * np.log(2), rtol=1e-5)


def test_the_rate_warms_up_and_falls_to_nothing():
    rates = [float(network._rate(PLAIN, 2.0, jnp.float32(step))) for step in range(PLAIN.steps)]
    assert rates[0] == pytest.approx(2 / 1.5) and max(rates) == pytest.approx(2, rel=1e-3)
    assert rates[-1] == pytest.approx(0, abs=1e-6) and np.all(np.diff(rates[1:]) < 0)
    constant = dataclasses.replace(PLAIN, schedule="constant")
    assert network._rate(constant, 2.0, 7) == 2.0


def test_orthogonal_weights_cost_nothing():
    square, _ = np.linalg.qr(RNG.normal(size=(4, 4)))
    params = {"hidden_1": {"kernel": np.float32(3 * square)}, "logits": {"kernel": np.ones((4, 2))}}
    assert float(network._orthogonality(params)) == pytest.approx(0, abs=1e-5)
    params["hidden_1"]["kernel"] = np.ones((4, 2), np.float32)
    assert float(network._orthogonality(params)) == pytest.approx(1, rel=1e-5)


def test_pruning_leaves_a_fifth_of_the_hidden_weights():
    kernel = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    params = {"hidden_1": {"kernel": kernel, "bias": kernel[0]}, "logits": {"kernel": kernel}}
    pruned = network.pruned({"params": params})["params"]
    assert np.count_nonzero(pruned["hidden_1"]["kernel"]) == 20
    assert np.array_equal(pruned["logits"]["kernel"], kernel)


def test_gaps_become_the_mean_of_the_training_rows():
    features = np.array([[1.0, 5], [3, 5], [np.nan, 5], [8, 5]], np.float32)
    sample = training.Sample(np.array([0, 1]), np.array([2]), np.array([3]))
    scaled = training.scaling(None, features, sample)(np.arange(4))
    np.testing.assert_allclose(scaled, [[-1, 0], [1, 0], [0, 0], [6, 0]])


def test_corruptions_do_what_their_names_say():
    image = np.zeros((1, 14, 14, 1), np.float32)
    image[0, 3, 4] = 1
    made = corruptions.corruptions(jnp.asarray(image.reshape(1, -1)), (14, 14, 1))
    maps = {name: np.asarray(value).reshape(14, 14) for name, value in made.items()}
    assert maps["shift"][4, 5] == pytest.approx(1) and maps["shift"].sum() == pytest.approx(1)
    assert maps["blur"].sum() == pytest.approx(1, rel=1e-5)
    assert maps["blur"][3, 4] == pytest.approx((1 + 2 * np.exp(-0.5) + 2 * np.exp(-2)) ** -2, rel=1e-4)
    assert maps["contrast"].max() - maps["contrast"].min() == pytest.approx(0.4)
    place = np.tensordot(maps["rotation"], np.indices((14, 14)), ([0, 1], [1, 2]))
    np.testing.assert_allclose(place / maps["rotation"].sum(), [2.47, 4.99], atol=0.1)  # by 15 degrees
    assert np.std(maps["noise"] - image[0, :, :, 0]) == pytest.approx(0.2, rel=0.2)
    table = corruptions.corruptions(jnp.ones((2000, 2)), None)
    assert np.std(table["noise"]) == pytest.approx(0.5, rel=0.1)
    assert np.mean(table["missing"] == 0) == pytest.approx(0.2, abs=0.03)


def test_a_failed_network_guesses():
    sample = training.Sample(np.arange(4), np.arange(4), np.arange(4))
    labels = np.array([0, 1, 2, 3])
    wrong = np.roll(np.eye(4), 1, axis=1)
    numbers = measures.measures({"train": wrong, "tuning": np.eye(4)}, np.ones(1), labels, sample)
    assert numbers["failed"] == 1 and numbers["tuning_error"] == 0.75
    numbers = measures.measures({"train": np.eye(4), "tuning": wrong}, np.ones(1), labels, sample)
    assert numbers["failed"] == 0 and numbers["tuning_error"] == 1


def test_the_temperature_makes_confident_logits_honest():
    labels = RNG.integers(0, 3, 2000)
    logits = RNG.normal(size=(2000, 3)) + 2 * np.eye(3)[labels]
    honest = measures.temperature(logits, labels)
    assert measures.temperature(5 * logits, labels) == pytest.approx(5 * honest, rel=1e-3)
