"""Pages in docs/recipes: their code runs unchanged, the penalty acts, and their warnings are true."""

import dataclasses
import functools
import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec

from decorr import MLP, correlation_penalty, layer_penalties, sample_positions
from decorr.config import Architecture

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parent.parent / "docs" / "recipes"
NAMES = {
    "data_parallel": ["relu"],
    "equinox": ["relu/0", "relu/1"],
    "linen": ["relu/0", "relu/1"],
    "mixed_precision": ["relu/0", "relu/1"],
    "nnx": ["relu/0", "relu/1"],
    "resnet": ["Block_0/relu/0", "Block_1/relu/0"],
    "scan": ["blocks/0", "blocks/1", "blocks/2", "blocks/3"],
    "schedules": ["relu"],
    "transformer": ["Block_0/gelu/0", "Block_1/gelu/0"],
}
PAGES = sorted(NAMES)
"""The pages that add a penalty to a model."""
OTHERS = ("clu", "keras", "logging", "reweighting", "sensitive", "sparse_autoencoder")
MARKS = {"clu": pytest.mark.oracle, "keras": pytest.mark.oracle}
"""`make oracles` has the packages of some pages."""
WEIGHT = "0.002"
PENALTY = jax.jit(correlation_penalty)


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (RECIPES / f"{page}.md").read_text(), re.DOTALL)


@functools.cache
def executed(page, *changes):
    """Runs a page's code with changes to its text, once. Returns its names, which tests must not change."""
    if page in ("clu", "equinox", "keras") and importlib.util.find_spec(page) is None:
        pytest.skip(f"the recipe needs what it is named after: pip install {page}")
    code = "".join(blocks(page))
    for old, new in changes:
        assert old in code, old
        code = code.replace(old, new)
    names = {}
    exec(compile(code, str(RECIPES / f"{page}.md"), "exec"), names)
    return names


# -- pages that measure, or use other parts ----------------------------------------------------------------


@pytest.mark.parametrize("page", [pytest.param(page, marks=MARKS.get(page, ())) for page in OTHERS])
def test_it_acts_as_the_comments_say(page, capsys):
    """Compares printed numbers with those in comments after `print`, or on their own line below it."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # the defaults of JAX
        executed(page)
    said = re.findall(r"^(?:print\(.*|)# (.*)$", blocks(page)[0], re.MULTILINE)
    said, printed = (
        re.findall(r"-?\d+\.?\d*(?:e-\d+)?", text) for text in (" ".join(said), capsys.readouterr().out)
    )
    np.testing.assert_allclose(np.float64(printed), np.float64(said), rtol=0.15, atol=0.03)


@pytest.mark.oracle
def test_logging_to_tensorboard(tmp_path):
    """Runs the page's line, and reads the file that it writes."""
    tensorboard = pytest.importorskip("tensorboardX", reason="`make oracles` has it")
    from tensorboardX.proto.event_pb2 import Event

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        logs = executed("logging")["logs"]
    (line,) = re.findall("`(for .*add_scalar.*)`", (RECIPES / "logging.md").read_text())
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        exec(line, {"logs": logs, "writer": writer, "i": 450})
    (path,) = tmp_path.iterdir()
    data, found = path.read_bytes(), {}
    while data:  # length, checksum, event, checksum
        end = 12 + int.from_bytes(data[:8], "little")
        event, data = Event.FromString(data[12:end]), data[end + 4 :]
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    assert found == pytest.approx({(name, 450): value for name, value in logs[450].items()})


# -- every page that adds a penalty -------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_the_code_runs_and_names_the_layers(page):
    names = executed(page)
    assert list(names["values"]) == NAMES[page]
    assert all(value.dtype == jnp.float32 and value >= 0.4 for value in names["values"].values())
    weight = 0 if page == "schedules" else float(WEIGHT)
    wanted = weight * sum(float(value) for value in names["values"].values())
    assert float(names["total"]) == pytest.approx(wanted, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("page", PAGES)
def test_the_penalty_falls_with_the_weight(page):
    assert blocks(page)[0].count(WEIGHT) == 1
    little, more = executed(page)["values"], executed(page, (WEIGHT, "0.5"))["values"]
    for name in NAMES[page]:
        assert more[name] - 0.5 < 0.95 * (little[name] - 0.5), name


def test_the_index_lists_every_page_and_its_lines():
    index = (RECIPES / "README.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \|.*\| (\d+) \|$", index, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == PAGES
    others = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \|[^|]*\|$", index, re.MULTILINE)
    assert {*PAGES, *others} == {path.stem for path in RECIPES.glob("*.md")} - {"README"}
    assert sorted(others) == sorted(OTHERS)
    for name, target, lines in rows:
        assert target == name and len(re.findall(r"#.*\bdecorr\b", blocks(name)[0])) == int(lines)


# -- linen --------------------------------------------------------------------------------------------------


def applied(names, **options):
    """Applies the page's model to its input in one program. Otherwise JAX would compile each operation."""
    apply = functools.partial(names["model"].apply, **options)
    return jax.jit(apply)({"params": names["params"]}, names["x"])


def test_linen_captured_intermediates_are_before_the_nonlinearity():
    names = executed("linen")
    _, captured = applied(names, capture_intermediates=True, mutable=["intermediates"])
    captured = captured["intermediates"]
    assert captured["Dense_0"]["__call__"][0].min() < 0 <= captured["relu"][0].min()
    np.testing.assert_array_equal(captured["__call__"][0], applied(names))


def test_linen_what_is_fed_back_grows():
    names = executed("linen")
    _, sown = applied(names, mutable=["intermediates"])
    apply = jax.jit(functools.partial(names["model"].apply, mutable=["intermediates"]))
    _, again = apply({"params": names["params"], **sown}, names["x"])
    assert len(sown["intermediates"]["relu"]) == 2 and len(again["intermediates"]["relu"]) == 4


def test_a_model_that_returns_its_activations():
    model, x = MLP(Architecture((8, 4), "leaky_relu", 0.01, "flax", False), 10), executed("linen")["x"]
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    _, activations = jax.eval_shape(model.apply, variables, x)
    _, values = jax.eval_shape(lambda a: layer_penalties(a, {"*": 0.002}), activations)
    assert list(values) == [str(i) for i in range(len(activations))]


# -- scan ---------------------------------------------------------------------------------------------------

UNTRAINED = [("range(20)", "range(0)"), ("enumerate(values)", "enumerate([])"), ("print(total, values)", "")]
ACTIVATIONS = [
    ("correlation_penalty(a))  #", "a)  #"),
    ('["P"][0]  #', '["P"][0]; values = jax.vmap(correlation_penalty)(values)  #'),
]


def test_scan_what_is_sown_vanishes_without_the_collection():
    with pytest.raises(KeyError, match=r"intermediates|blocks"):
        executed("scan", ('{"params": 0, "intermediates": 0}', '{"params": 0}'))


def test_scan_the_bodys_second_output_is_the_same():
    names = executed(
        "scan",
        *UNTRAINED,
        ("x + nn.Dense(32)(a), None", "x + nn.Dense(32)(a), correlation_penalty(a)"),
        ("x, _ = blocks", "x, values = blocks"),
        ("return nn.Dense(10)(x)", "return nn.Dense(10)(x), values"),
    )
    (_, values), sown = applied(names, mutable=["intermediates"])
    np.testing.assert_allclose(values, sown["intermediates"]["blocks"]["P"][0], rtol=1e-6)


def test_scan_stacked_layers_must_not_be_pooled():
    """Checks the numbers on the page. The vmapped penalties equal those that the block itself computes."""
    names = executed("scan", *UNTRAINED, *ACTIVATIONS)
    inside = executed("scan", *UNTRAINED)
    _, sown = applied(names, mutable=["intermediates"])
    stacked = sown["intermediates"]["blocks"]["P"][0]
    each_layer = jax.jit(jax.vmap(correlation_penalty))
    of_layers, pooled = each_layer(stacked), PENALTY(stacked)
    _, sown = applied(inside, mutable=["intermediates"])
    np.testing.assert_allclose(of_layers, sown["intermediates"]["blocks"]["P"][0], rtol=1e-4)
    assert float(jax.jit(names["of_stacked"])(stacked)) == pytest.approx(float(of_layers.sum()), rel=1e-6)
    found = [float(of_layers.min()), float(of_layers.max()), float(pooled)]
    np.testing.assert_allclose(found, [1.69, 2.04, 0.99], rtol=0.02)
    swapped = stacked.at[1].set(stacked[1, :, ::-1])
    np.testing.assert_allclose(each_layer(swapped), of_layers, rtol=1e-5)
    assert abs(PENALTY(swapped) - pooled) > 1e-3


def test_scan_stacking_takes_memory():
    larger = [("length=4", "length=16"), ("(64, 20)", "(1024, 20)"), ("arange(64)", "arange(1024)")]
    memory = []
    for changes in (larger, larger + ACTIVATIONS):
        names = executed("scan", *UNTRAINED, *changes)
        gradient = jax.jit(jax.grad(names["loss"], has_aux=True))
        compiled = gradient.lower(names["params"], names["x"], names["labels"]).compile()
        memory.append(compiled.memory_analysis().temp_size_in_bytes)
    assert memory[1] > 2 * memory[0]


# -- nnx ----------------------------------------------------------------------------------------------------


def test_nnx_capture_leaves_the_model_and_a_bare_call_does_not():
    names = executed("nnx", ("range(20)", "range(1)"))
    nnx, model, x = names["nnx"], names["model"], names["x"]
    before = nnx.graphdef(model)
    nnx.capture(model, nnx.Intermediate)(x)
    assert nnx.graphdef(model) == before
    sizes = []
    for _ in range(2):
        with pytest.warns(DeprecationWarning, match="outside of 'nnx.capture"):
            model(x)
        sizes.append(len(model.relu.get_value()))
    assert nnx.graphdef(model) != before and sizes == [2, 4]


def test_nnx_method_outputs_need_the_type_too():
    nnx, model, x = (executed("nnx")[name] for name in ("nnx", "model", "x"))
    assert isinstance(nnx.capture(model, method_outputs=nnx.Intermediate)(x), jax.Array)
    logits, sown = nnx.capture(model, nnx.Intermediate, method_outputs=nnx.Intermediate)(x)
    sown = nnx.to_pure_dict(sown)
    np.testing.assert_array_equal(sown["__call__"][0], logits)
    assert sown["hidden"][0]["__call__"][0].min() < 0
    _, sown = nnx.capture(model, nnx.Intermediate)(x)
    assert list(layer_penalties(sown, {"*": 1.0})[1]) == ["relu/value/0", "relu/value/1"]


# -- equinox ------------------------------------------------------------------------------------------------


def test_equinox_inside_of_the_vmap():
    names = executed("equinox")
    _, activations = jax.vmap(names["model"])(names["x"])
    total, values = layer_penalties(activations, {"relu/*": 0.01})
    assert float(names["total_inside"]) == pytest.approx(float(total), rel=1e-5)
    assert names["values_inside"].keys() == values.keys()
    with pytest.raises(ValueError, match=r"relu/0: .*axis_name"):
        jax.vmap(lambda x: layer_penalties(names["model"](x)[1], {"*": 1.0})[0])(names["x"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        names["model"].relu = names["x"]


# -- transformer --------------------------------------------------------------------------------------------


@functools.cache
def of_block_0():
    names = executed("transformer")
    apply = jax.jit(functools.partial(names["model"].apply, mutable=["intermediates"]))
    _, sown = apply({"params": names["params"]}, names["tokens"], names["valid"])
    return sown["intermediates"]["Block_0"]["gelu"][0], names["valid"]


def test_transformer_padding_counts_without_where():
    names = executed("transformer")
    a, valid = of_block_0()
    right = PENALTY(a[valid])
    inputs = (names[name] for name in ("params", "tokens", "valid", "labels"))
    _, (_, values) = jax.jit(names["loss"])(*inputs)
    assert float(values["Block_0/gelu/0"]) == pytest.approx(float(right), rel=1e-5)
    found = [right, PENALTY(a), PENALTY(jnp.where(valid[..., None], a, 0))]
    np.testing.assert_allclose(found, [2.79, 2.31, 2.62], rtol=0.02)


def test_transformer_nan_at_the_padding():
    a, valid = of_block_0()
    bad = jnp.where(valid[..., None], a, jnp.nan)
    before = jax.jit(jax.grad(lambda weights: correlation_penalty(bad @ weights, where=valid)))
    assert np.isnan(before(jnp.eye(a.shape[-1]))).any()


def test_transformer_some_tokens_of_each_sequence():
    a, valid = of_block_0()
    sample = jax.jit(sample_positions, static_argnums=2)
    samples, drawn = sample(a, jax.random.key(0), 40, where=valid)
    assert samples.shape == (8, 5, 64) and not drawn.all()
    assert np.isfinite(PENALTY(samples, where=drawn))


# -- resnet -------------------------------------------------------------------------------------------------


def test_resnet_channels_are_units_and_few_samples_show_more():
    names = executed("resnet")
    variables = {"params": names["params"], "batch_stats": names["statistics"]}
    apply = jax.jit(functools.partial(names["model"].apply, mutable=["batch_stats", "intermediates"]))
    _, sown = apply(variables, names["x"])
    a = sown["intermediates"]["Block_0"]["relu"][0]
    assert a.shape == (16, 8, 8, 16)
    inputs = (names[name] for name in ("params", "statistics", "key", "x", "labels"))
    _, (_, _, values) = jax.jit(names["loss"])(*inputs)

    @functools.partial(jax.jit, static_argnums=0)
    def penalty(samples, key):
        return correlation_penalty(sample_positions(a, key, samples))

    assert float(values["Block_0/relu/0"]) == pytest.approx(float(penalty(256, names["key"])), rel=1e-5)
    few, some = (np.mean([penalty(m, jax.random.key(i)) for i in range(5)]) for m in (16, 256))
    assert few > some + 0.2
    first = jnp.moveaxis(a, -1, 1)
    assert abs(PENALTY(first) - PENALTY(a)) > 0.01
    assert float(PENALTY(jnp.moveaxis(first, 1, -1))) == pytest.approx(float(PENALTY(a)), rel=1e-6)


# -- mixed_precision ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_mixed_precision_the_total_belongs_into_the_scaled_sum(half):
    """With the penalty outside of the scaled sum, training is the same as without a penalty."""
    text = "SCALE * (nll + total), (total"
    run = functools.partial(executed, "mixed_precision", ("jnp.bfloat16", f"jnp.{half}"))
    names, without = run((WEIGHT, "0.5")), run((WEIGHT, "0.0"))
    outside = run((WEIGHT, "0.5"), (text, "SCALE * nll + total, (total"))
    assert names["values"]["relu/0"] < 0.95 * without["values"]["relu/0"]
    assert float(outside["values"]["relu/0"]) == pytest.approx(float(without["values"]["relu/0"]), rel=1e-2)
    _, activations = jax.jit(names["forward"])(names["params"], names["x"].astype(half))
    a = activations["relu"][1]
    assert a.dtype == half == jax.eval_shape(jax.grad(correlation_penalty), a).dtype
    np.testing.assert_allclose(PENALTY(a), PENALTY(a.astype(jnp.float32)), rtol=1e-6)


@pytest.mark.parametrize(
    ("m", "lost"),
    [(512, 0.02), (4096, 0.19), (32768, 0.98)],
)
def test_mixed_precision_float16_needs_the_scale(m, lost):
    keys = jax.random.split(jax.random.key(0), 2)
    units = jax.random.normal(keys[0], (m, 64)) + 3**-0.5 * jax.random.normal(keys[1], (m, 1))  # rho is 1/4
    gradient = jax.jit(jax.grad(lambda a, scale: scale * 0.002 * correlation_penalty(a)))
    right = np.asarray(gradient(units.astype(jnp.float16).astype(jnp.float32), 1.0))

    def error(half, scale):
        found = np.asarray(gradient(units.astype(half), scale), np.float32) / scale
        return np.linalg.norm(found - right) / np.linalg.norm(right)

    assert error(jnp.float16, 1.0) == pytest.approx(lost, rel=0.2)
    assert error(jnp.float16, 1024.0) < 2e-3
    assert error(jnp.bfloat16, 1.0) < 1e-2
    assert error(jnp.bfloat16, 1024.0) < 1e-2


# -- data_parallel ------------------------------------------------------------------------------------------


def one_device(names):
    return [jnp.asarray(np.asarray(array)) for array in (names["x"], names["labels"])]


@pytest.mark.parametrize("axes", ["", ", axis_types=(jax.sharding.AxisType.Auto,)"])
@pytest.mark.parametrize("how", ["by_jit", "by_shard_map"])
def test_data_parallel_trains_as_one_device_does(axes, how):
    names = executed(
        "data_parallel",
        ('("data",))\n', f'("data",){axes})\n'),
        ("values = by_jit(", f"values = {how}("),
        (WEIGHT, "0.5"),
    )
    assert names["mesh"].size == jax.device_count() > 1
    assert (names["mesh"].axis_types[0] == AxisType.Auto) == bool(axes)
    start = executed("data_parallel", ("range(20)", "range(0)"), ("print(total, values)", ""))["params"]
    params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), start)
    state, step = names["optimiser"].init(params), jax.jit(names["step"])
    for _ in range(20):
        params, state, total, _ = step(params, state, *one_device(names))
    for found, wanted in zip(jax.tree.leaves(names["params"]), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
    assert float(names["total"]) == pytest.approx(float(total), rel=1e-4)


@pytest.fixture(scope="module")
def spread():
    """Returns the page's names, trained with a visible weight, and with the gradient on one device."""
    names = executed("data_parallel", (WEIGHT, "0.5"))
    names["right"] = jax.jit(jax.grad(names["loss"], has_aux=True))(
        jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), names["params"]), *one_device(names)
    )[0]
    return names


def gradients(names, how, check_vma):
    """Returns the gradients of each device [device, ...], for each row of the page's table."""
    loss, mean = names["loss"], lambda tree: jax.lax.pmean(tree, "data")

    def same(*inputs):
        return loss(*inputs, "data")[0]

    def own_loss(params, x, labels):  # the device's nll, the penalty of all devices
        hidden = jax.nn.relu(x @ params["hidden"])
        nll = optax.softmax_cross_entropy_with_integer_labels(hidden @ params["logits"], labels).mean()
        return nll + 0.5 * correlation_penalty(hidden, axis_name="data")

    def own_penalty(*inputs):
        return mean(loss(*inputs)[0])

    whole, samples = PartitionSpec(), PartitionSpec("data")
    spread = functools.partial(
        jax.shard_map, mesh=names["mesh"], in_specs=(whole, samples, samples), check_vma=check_vma
    )
    inputs = names["params"], names["x"], names["labels"]
    if how == "outside":
        return jax.tree.map(
            lambda leaf: leaf[None], jax.jit(jax.grad(spread(same, out_specs=whole)))(*inputs)
        )
    of = {"same": same, "own_loss": own_loss, "own_penalty": own_penalty}[how.removesuffix(", pmean")]

    def inside(*inputs):
        gradient = jax.grad(of)(*inputs)
        gradient = mean(gradient) if how.endswith("pmean") else gradient
        return jax.tree.map(lambda leaf: leaf[None], gradient)

    return jax.jit(spread(inside, out_specs=samples))(*inputs)


def verdict(found, right, devices):
    found, right = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (found, right))
    for name, factor in (("right", 1), ("n times too large", devices)):
        if np.abs(found - factor * right).max() < 1e-4 * np.abs(right).max():
            return name
    return "wrong"


def test_data_parallel_the_table(spread):
    page = (RECIPES / "data_parallel.md").read_text()
    table = [row.strip("| ").split(" | ") for row in re.findall(r"^\|.*\|$", page, re.MULTILINE)][2:]
    ways = ["outside", "same", "same, pmean", "own_loss", "own_loss, pmean", "own_penalty, pmean"]
    assert len(table) == len(ways)
    for how, (_, *cells) in zip(ways, table, strict=True):
        for cell, check_vma in zip(cells, (True, False), strict=True):
            found = jax.tree.map(np.asarray, gradients(spread, how, check_vma))
            each = [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(len(found["hidden"]))]
            verdicts = {verdict(one, spread["right"], jax.device_count()) for one in each}
            alike = all(verdict(one, each[0], 0) == "right" for one in each)
            wanted = {"different on each device": "wrong", "that of another penalty": "wrong"}.get(cell, cell)
            assert verdicts == {wanted} and alike == (cell != "different on each device"), (how, cell)


def test_data_parallel_devices_own_penalties_are_too_large(spread):
    x, _ = one_device(spread)
    hidden = jax.nn.relu(x @ np.asarray(spread["params"]["hidden"]))
    own = [PENALTY(part) for part in np.split(np.asarray(hidden), jax.device_count())]
    assert np.mean(own) > 1.1 * PENALTY(np.asarray(hidden))


# -- schedules ----------------------------------------------------------------------------------------------


def test_schedules_the_weight_falls_and_nothing_is_compiled_anew():
    names = executed("schedules")
    assert names["step"]._cache_size() == 1
    assert names["totals"] == sorted(names["totals"], reverse=True) and names["totals"][-1] == 0
    assert names["totals"][0] == pytest.approx(0.002 * 1.8, rel=0.1)


def test_schedules_a_weight_from_outside_stays_the_first():
    names = executed(
        "schedules",
        ("weight_at(i)}", "weight_now}"),
        ("for i in range(20):", "for i in range(20):\n    weight_now = float(weight_at(i))\n   "),
    )
    assert names["total"] > 0.9 * names["totals"][0] > 0


def test_schedules_the_step_of_nnx():
    assert executed("nnx")["optimiser"].step.get_value() == 20
