"""The settings and methods of PLAN.md."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from decorr.config import Architecture
from experiments.comparison.recipes import WITHOUT_LABELS, Recipe
from experiments.comparison.settings import Budget

PLAIN = Recipe()
CONVOLUTIONAL = replace(PLAIN.architecture, widths=(16, 32, 64))


@dataclass(frozen=True)
class Part:
    """A setting without its data, and the methods to train in it."""

    pool: str
    """The data set's name for `load_pool`; for a table of the plan, its file's name without folder and
    suffix."""
    rows: int
    methods: tuple[str, ...]
    plain: Recipe = PLAIN
    budget: Budget = Budget()  # noqa: RUF009
    title: str = ""


LADDER_SETS = ("mnist", "fashion_mnist")
LADDER_METHODS = ("vanilla", "corr", "dropout", "corr-dropout")
SLOPES = ("vanilla-fixed", "corr-fixed", "vanilla-copied", "corr-copied")

RATES, RATES_METHODS = "rates", ("vanilla", "corr-tenth")
"""Title and methods of the settings that train the first rung at equal learning rates, in the search."""

_RELEASED = Recipe(
    Architecture(widths=PLAIN.architecture.widths, input_dropout=False),
    optimiser="sgd",
    schedule="constant",
    clip=False,
    weight_decay=1e-4,
)


def _with(recipe: Recipe, step: str) -> Recipe:
    """Returns a recipe, changed by one step of the ladder."""
    architecture = recipe.architecture
    if step == "relu":
        return replace(
            recipe, architecture=replace(architecture, nonlinearity="leaky_relu", negative_slope=0.0)
        )
    if step == "he":
        return replace(recipe, architecture=replace(architecture, initialisation="he"))
    if step == "schedule":
        return replace(recipe, schedule="warmup-cosine", clip=True)
    if step == "momentum":
        return replace(recipe, optimiser="momentum")
    if step == "decay":
        return replace(recipe, weight_decay=None)
    assert step == "batchnorm", step
    return replace(recipe, architecture=replace(architecture, normalisation="batch"))


STEPS = ("relu", "he", "schedule", "momentum", "decay", "batchnorm")
"""The steps from the paper's released network to a customary one: ReLU; He's initialisation; warm-up, cosine
and clipping; momentum; tuned weight decay of kernels; batch normalisation."""


def rungs() -> dict[str, Recipe]:
    """Returns a dict from rungs to recipes: the released network's, then the recipe after each step."""
    made = {"released": _RELEASED}
    for step in STEPS:
        made[step] = _with(list(made.values())[-1], step)
    return made


def alone() -> dict[str, Recipe]:
    """Returns the recipes that differ by a single step from the released network's. The step to ReLU is left
    out, because it is the ladder's second rung."""
    return {f"{step}-alone": _with(_RELEASED, step) for step in STEPS[1:]}


def ladder() -> Iterator[Part]:
    """Yields the parts of the ladder: the rungs, then the single steps, then the first rung at equal learning
    rates. The first rung includes the intervention on slopes."""
    budget = Budget(points=16, finalists=4, more_seeds=3, report_seeds=20)
    for name in LADDER_SETS:
        for title, recipe in rungs().items():
            methods = LADDER_METHODS + (SLOPES if title == "released" else ())
            yield Part(name, 2000, methods, recipe, budget, title)
    for name in LADDER_SETS:
        for title, recipe in alone().items():
            yield Part(name, 2000, LADDER_METHODS[:2], recipe, budget, title)
    for name in LADDER_SETS:
        budget = Budget(points=16, seeds=6, finalists=1, more_seeds=1, report_seeds=2)
        yield Part(name, 2000, RATES_METHODS, _RELEASED, budget, RATES)


TABLES = (
    *("letter", "magic", "spambase", "satimage", "optdigits", "penbased", "texture"),
    *("segment", "phoneme", "marketing", "mushroom", "splice", "chess", "german"),
)
SETS = ("mnist", "fashion_mnist", "digits", *TABLES)
LARGE = ("mnist", "fashion_mnist", "letter", "magic", "penbased", "satimage", "marketing")
"""The data sets that have 5,000 rows for a sample and at least 1,250 rows for the test."""
JUDGED = ("vanilla", "dropout", "corr", "corr-fading", "decov", "corr-dropout")
"""The methods that the hypotheses compare."""
FEW = ("vanilla", "dropout", "batchnorm", "corr", "corr-dropout")
"""The methods that are also trained with AdamW, with convolutions, on all images, and on half of the
classes."""
ADAMW = ("mnist", "fashion_mnist", "digits", "letter", "spambase", "splice")
DESCRIBED = ("batchnorm", "smoothing", "orthogonal", "vcreg", "whiten")


def comparison() -> Iterator[Part]:
    """Yields the parts of the comparison. The parts that the hypotheses need come first."""
    for name in SETS:
        yield Part(name, 1000, JUDGED)
    for name in LARGE:
        yield Part(name, 5000, (*JUDGED, "batchnorm"), replace(PLAIN, steps=3000))
    for name in SETS:
        yield Part(name, 1000, JUDGED + DESCRIBED)
    for name in ADAMW:
        yield Part(name, 1000, FEW, replace(PLAIN, optimiser="adamw"), title="adamw")
    conv = replace(PLAIN, family="conv", architecture=CONVOLUTIONAL, steps=1000)
    for name in SETS[:3]:
        budget = Budget(points=16, finalists=4, more_seeds=3, report_seeds=10)
        yield Part(name, 1000, FEW, conv, budget, "conv")
    for name in SETS[:2]:
        budget = Budget(points=8, finalists=2, more_seeds=2, report_seeds=5)
        yield Part(name, 60_000, FEW, replace(PLAIN, steps=12_000), budget)


SHOTS = (5, 50)
"""Probes on features learn from these numbers of rows of each held-out class."""


def features() -> Iterator[Part]:
    """Yields the parts that test features on held-out classes. Their hyperparameters come from the
    comparison."""
    for name in ("mnist", "fashion_mnist", "digits", "letter", "optdigits", "penbased"):
        yield Part(name, 1000, FEW, title="features")


def views() -> Iterator[Part]:
    """Yields the parts that learn without labels, from all images of two data sets."""
    small = replace(PLAIN.architecture, widths=(128, 128))
    plain = replace(PLAIN, architecture=small, weight_decay=1e-4, steps=3000)
    budget = Budget(points=16, finalists=4, more_seeds=2, report_seeds=10)
    for name in ("digits", "fashion_mnist"):
        yield Part(name, 10**9, tuple(WITHOUT_LABELS), plain, budget, "views")


PLANNED = {"ladder": ladder, "comparison": comparison, "features": features, "views": views}
