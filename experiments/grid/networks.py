"""Frozen dataclasses that describe networks and their training. They need only the standard library.

Each field names its source. "text" is the paper. "code" is the author's released Torch7 code. Where the
paper and the code differ, only the code gives the published figures.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, get_args

from decorr._names import check_name, meant
from decorr.config import Architecture, Normalisation, Optimisation, Regulariser, Schedule

Size = Literal["tiny", "small", "medium", "large", "huge"]
SIZES: dict[Size, float] = {"tiny": 0.1, "small": 0.3, "medium": 0.5, "large": 0.7, "huge": 0.9}
"""Maps each size to the factor that multiplies the base widths 400, 200, 100 (code). Table 1 prints the
products."""

Family = Literal["mlp", "conv"]
FAMILIES: dict[Family, tuple[int, ...]] = {"mlp": (400, 200, 100), "conv": (40, 80, 160)}
"""Maps each kind of network to its base widths. mlp: fully connected, as in the paper (code). conv:
convolutional, not in the paper; deeper layers have more channels and smaller maps. The widths of every size
are whole numbers."""

Penalty = Literal["corr", "decov", "vcreg"]
"""The penalty of each hidden layer, before it is multiplied by a weight: `correlation_penalty`,
`decov_loss`, or `vcreg_loss` with weight 1 for each of its two parts."""

Scaling = Literal["max", "zscore", "zca"]
"""How pixels are scaled. max: divided by the largest pixel. zscore: z-scored by mean and standard deviation
of all pixels. zca: whitened."""


@dataclass(frozen=True)
class Recipe:
    """Everything that the networks of one sweep have in common. The defaults are the released code's.

    Recipes that have a name are called protocols: see `experiments.grid.protocols`.
    """

    name: str = "released"
    """The recipe's name in results."""
    family: Family = "mlp"
    """Kind of network: mlp, the paper's (`decorr.models.MLP`), or conv (`decorr.models.ConvNet`)."""
    widths: tuple[int, ...] = ()
    """Units of each hidden layer, before the size's factor multiplies them. (): the widths in `FAMILIES`."""
    width_order: Literal["descending", "ascending"] = "descending"
    """descending: 360-180-90 for huge, each layer half as wide as the one before (text, Section 1.3; code).
    ascending: 90-180-360, an ablation. Table 1 prints this order, because its columns are reversed by
    mistake. The family conv has one order only: 36-72-144 channels for huge."""
    input_scaling: Scaling = "max"
    """max: pixels are divided by the largest one (code). zscore: they are z-scored by mean and standard
    deviation of the training set (text, Section 2.2: "approximately z-scored"). zca: they are whitened by
    mean and covariance of the training set, which the paper does not try."""
    nonlinearity: Literal["prelu", "leaky_relu"] = "prelu"
    """prelu (code); leaky_relu (text, Section 1.3)."""
    negative_slope: float = 0.25
    """Slope for negative inputs; for prelu, before training. 0.25 is Torch's initial PReLU slope (code)."""
    initialisation: Literal["torch", "flax"] = "torch"
    """torch (code). The text does not mention the initialisation."""
    input_dropout: bool = True
    """True: dropout acts on the input too (code). False: it acts on hidden layers only. The text says "at
    each layer", which we read as each hidden layer."""
    penalty_scale: Literal["per_sample", "full"] = "per_sample"
    """per_sample: the gradient of P is multiplied by weight / batch_size (code). So with batch size 50, the
    weights 0.1 and 1.0 become factors 0.002 and 0.02. full: the gradient of P is multiplied by the weight
    (text, Section 3.1)."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """sgd (text, code), or adamw, which takes only the learning rate, the schedule and the weight decay from
    `optimisation`."""
    optimisation: Optimisation = field(default_factory=Optimisation)
    """The optimiser's numbers (text, Section 1.3; code)."""
    epochs: int = 100
    """Passes over the training set (text, code)."""

    def architecture(self, size: Size) -> Architecture:
        """Returns the architecture of a size: tiny, small, medium, large or huge."""
        check_name("size", size, SIZES)
        check_name("family", self.family, FAMILIES)
        ascending = self.width_order == "ascending"
        if ascending and self.family == "conv":
            raise ValueError("width order ascending is an ablation of the family mlp; conv has one order")
        bases = self.widths or FAMILIES[self.family]
        # Rounded before the floor, because in binary a product such as 90 * 0.7 is a little below 63.
        widths = tuple(math.floor(round(base * SIZES[size], 6)) for base in bases)
        if min(widths) < 1:
            raise ValueError(
                f"widths {', '.join(map(str, bases))} leave a layer of size {size} without units"
            )
        return Architecture(
            widths=widths[::-1] if ascending else widths,
            nonlinearity=self.nonlinearity,
            negative_slope=self.negative_slope,
            initialisation=self.initialisation,
            input_dropout=self.input_dropout,
        )

    def products(self, size: Size, image_shape: tuple[int, ...]) -> int:
        """Returns the cost of a network: the multiplications in its hidden layers for one image."""
        architecture = self.architecture(size)
        if self.family == "conv":
            return architecture.convolutional_products(image_shape)
        return architecture.weights(math.prod(image_shape))

    def penalty_weight(self, weight: float) -> float:
        """Returns the multiplier of P in the loss, for a weight on the paper's scale."""
        return weight / (self.optimisation.batch_size if self.penalty_scale == "per_sample" else 1)


class Look(NamedTuple):
    """A variant's style in pictures, in matplotlib's terms. Styles can be told apart in grey and by the
    colour-blind."""

    colour: str
    hatch: str
    marker: str
    line: str


@dataclass(frozen=True)
class VariantKind:
    """A kind of variant: how its names are read, what it adds to training, and how it is drawn."""

    usage: str
    """Form of its names, for error messages."""
    regulariser: Callable[[Recipe, float], Regulariser] = lambda recipe, number: Regulariser()
    """Returns the regulariser, given the recipe and the variant's number. By default, it does nothing."""
    valid: Callable[[float], bool] | None = None
    """Returns whether the number in a name is valid. None: names have no number."""
    penalty: Penalty = "corr"
    """The penalty that the variant's weight multiplies, if the variant has a weight."""
    normalisation: Normalisation = "none"
    """Normalisation of the hidden layers."""
    shrinks: bool = False
    """Whether the number may shrink during training. If so, a schedule may follow the number in a name."""
    default: float | None = None
    """The number of a variant whose name has none, as in `drop`. None: names need a number, if the kind takes
    one."""
    looks: Mapping[float | None, Look] = field(default_factory=dict)
    """The styles of variants in pictures, by number. Variants with other numbers are drawn only where an axis
    shows the number."""


def _penalised(
    penalty: Penalty,
    multiplier: Callable[[Recipe, float], float],
    looks: Mapping[float | None, Look] | None = None,
) -> VariantKind:
    """Returns the kind of variant that trains with a penalty. Variants' names begin with the penalty's."""
    return VariantKind(
        usage=f"{penalty}-WEIGHT with WEIGHT >= 0, {penalty}-WEIGHT-cosine, {penalty}-WEIGHT-exponential",
        regulariser=lambda recipe, weight: Regulariser(penalty_weight=multiplier(recipe, weight)),
        valid=lambda weight: 0 <= weight < math.inf,
        penalty=penalty,
        shrinks=True,
        looks=looks or {},
    )


# Blue, orange, green and red as in the paper, in the shades of Okabe and Ito's palette.
VARIANT_KINDS: dict[str, VariantKind] = {
    "vanilla": VariantKind("vanilla", looks={None: Look("#0072B2", "", "o", "-")}),
    "drop": VariantKind(
        usage="drop, drop-RATE with 0 <= RATE < 1",
        regulariser=lambda recipe, rate: Regulariser(dropout_rate=rate),
        valid=lambda rate: 0 <= rate < 1,
        default=0.3,  # text, Section 1.3; code
        looks={0.3: Look("#E69F00", "..", "^", "--")},
    ),
    "corr": _penalised(
        "corr",
        Recipe.penalty_weight,
        {0.1: Look("#009E73", "//", "s", "-."), 1.0: Look("#D55E00", "xx", "D", ":")},
    ),
    "decov": _penalised("decov", lambda _, weight: weight),
    "vcreg": _penalised("vcreg", lambda _, weight: weight),
    "batchnorm": VariantKind("batchnorm", normalisation="batch"),
    "whiten": VariantKind("whiten", normalisation="whiten"),
}
"""Maps the first word of a variant's name to its kind. Tables and figures have the same order."""

ALIASES = {"dropout": "drop"}
"""Other first words that users may type, as in dropout-0.5 for drop-0.5. Results use the paper's names."""


@dataclass(frozen=True)
class Variant:
    """A named regulariser: vanilla, drop, drop-0.5, corr-0.1, corr-1.0-cosine, ...

    `Variant.parse` reads a name. Two names of one variant, such as drop and drop-0.3, give equal values.
    """

    kind: str
    """A key of `VARIANT_KINDS`."""
    number: float | None = None
    """The dropout rate or penalty weight; None if the kind takes no number."""
    schedule: Schedule = "constant"
    """How the number changes during training."""

    @classmethod
    def parse(cls, name: str) -> "Variant":
        """Returns the variant with this name, which may begin with one of `ALIASES`. An unknown name raises
        ValueError, which lists the valid forms."""
        kind, dash, number = name.partition("-")
        kind = ALIASES.get(kind, kind)
        known = VARIANT_KINDS.get(kind)
        schedule: Schedule = "constant"
        for shrinking in get_args(Schedule)[1:]:
            if known is not None and known.shrinks and number.endswith(f"-{shrinking}"):
                number, schedule = number.removesuffix(f"-{shrinking}"), shrinking
                break
        if known is not None and not dash and (known.valid is None or known.default is not None):
            return cls(kind, known.default)
        try:
            value = math.nan if re.search(r"[_\s]", number) else float(number)  # float takes 1_0
        except ValueError:
            value = math.nan
        if known is None or known.valid is None or not known.valid(value):
            usages = ", ".join(kind.usage for kind in VARIANT_KINDS.values())
            raise ValueError(f"unknown variant {name!r}{meant(kind, VARIANT_KINDS)}: choose from {usages}")
        return cls(kind, value + 0.0, schedule)  # turns -0 into 0

    @property
    def name(self) -> str:
        """The canonical name, which is the paper's in lower case: drop, corr-0.1, corr-1.0."""
        number = "" if self.number == VARIANT_KINDS[self.kind].default else f"-{self.number}"
        return self.kind + number + ("" if self.schedule == "constant" else f"-{self.schedule}")

    @property
    def title(self) -> str:
        """The variant's name in the paper: DROPNET, CORRNET-0.1."""
        kind, dash, number = self.name.partition("-")
        return f"{kind.upper()}NET{dash}{number.upper()}"

    @property
    def look(self) -> Look | None:
        """The variant's style in pictures; None if it has no style of its own."""
        return VARIANT_KINDS[self.kind].looks.get(self.number) if self.schedule == "constant" else None

    @property
    def order(self) -> tuple[int, float, int]:
        """Sort key: kind, then number, then schedule."""
        schedules = get_args(Schedule)
        return list(VARIANT_KINDS).index(self.kind), self.number or 0.0, schedules.index(self.schedule)

    def regulariser(self, recipe: Recipe) -> Regulariser:
        """Returns the variant's regulariser for a recipe."""
        return VARIANT_KINDS[self.kind].regulariser(recipe, self.number or 0.0)

    def architecture(self, recipe: Recipe, size: Size) -> Architecture:
        """Returns the architecture of the variant's network, for a recipe and a size."""
        return replace(recipe.architecture(size), normalisation=VARIANT_KINDS[self.kind].normalisation)


@dataclass(frozen=True)
class Network:
    """A size and a variant. For example, HUGE-CORRNET-0.1 in the paper is huge-corr-0.1 in results."""

    size: Size
    variant: Variant

    @classmethod
    def parse(cls, name: str) -> "Network":
        """Returns the network with a name of the form SIZE-VARIANT. Any other name raises ValueError."""
        size, _, variant = name.partition("-")
        return cls(check_name("size", size, SIZES), Variant.parse(variant))

    @property
    def name(self) -> str:
        """The network's name in results: huge-corr-0.1."""
        return f"{self.size}-{self.variant.name}"

    @property
    def title(self) -> str:
        """The network's name in the paper: HUGE-CORRNET-0.1."""
        return f"{self.size.upper()}-{self.variant.title}"

    @property
    def order(self) -> tuple[int, tuple[int, float, int]]:
        """Sort key: size as in Table 1, then variant."""
        return list(SIZES).index(self.size), self.variant.order
