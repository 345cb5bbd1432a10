"""Sizes, variants and protocols: the names that users type, and the numbers that they stand for."""

import dataclasses

import pytest

from decorr.config import Regulariser
from experiments.grid.networks import SIZES, Network, Recipe, Variant

RELEASED = Recipe()
CONV = Recipe(family="conv")
TEXT = Recipe(penalty_scale="full")
WIDTHS = {
    "huge": (360, 180, 90),
    "large": (280, 140, 70),
    "medium": (200, 100, 50),
    "small": (120, 60, 30),
    "tiny": (40, 20, 10),
}


@pytest.mark.parametrize("size", SIZES)
def test_widths(size):
    assert RELEASED.architecture(size).widths == WIDTHS[size]
    ascending = dataclasses.replace(RELEASED, width_order="ascending")
    assert ascending.architecture(size).widths == WIDTHS[size][::-1]


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 30, 3)])
def test_what_a_network_costs(shape):
    pixels = shape[0] * shape[1] * shape[2]
    assert RELEASED.products("tiny", shape) == pixels * 40 + 40 * 20 + 20 * 10
    positions = {(28, 28, 1): (14 * 14, 7 * 7, 4 * 4), (32, 30, 3): (16 * 15, 8 * 8, 4 * 4)}[shape]
    inputs, channels = (shape[2], 4, 8), (4, 8, 16)
    wanted = sum(p * 9 * i * o for p, i, o in zip(positions, inputs, channels, strict=True))
    assert CONV.products("tiny", shape) == wanted


def test_channels_have_one_order():
    with pytest.raises(ValueError, match="ablation of the family mlp; conv has one order"):
        dataclasses.replace(CONV, width_order="ascending").architecture("tiny")
    with pytest.raises(ValueError, match=r"^unknown family 'rnn': choose from mlp, conv$"):
        dataclasses.replace(CONV, family="rnn").architecture("tiny")


def test_widths_of_ones_own_are_scaled_by_the_size():
    own = dataclasses.replace(RELEASED, widths=(100, 50))
    assert own.architecture("huge").widths == (90, 45)
    with pytest.raises(ValueError, match=r"^widths 9, 50 leave a layer of size tiny without units$"):
        dataclasses.replace(own, widths=(9, 50)).architecture("tiny")


def test_unknown_size():
    for call in (RELEASED.architecture, lambda size: Network.parse(f"{size}-vanilla")):
        with pytest.raises(
            ValueError, match=r"^unknown size 'vast': choose from tiny, small, medium, large, huge$"
        ):
            call("vast")


@pytest.mark.parametrize(
    ("variant", "released", "text"),
    [
        ("vanilla", Regulariser(), Regulariser()),
        ("drop", Regulariser(None, 0.3), Regulariser(None, 0.3)),
        ("drop-0.5", Regulariser(None, 0.5), Regulariser(None, 0.5)),
        ("drop-0", Regulariser(None, 0.0), Regulariser(None, 0.0)),
        ("corr-0.1", Regulariser(0.002, None), Regulariser(0.1, None)),
        ("corr-1.0", Regulariser(0.02, None), Regulariser(1.0, None)),
        ("corr-1e-3", Regulariser(2e-5, None), Regulariser(1e-3, None)),
        ("decov-0.1", Regulariser(0.1, None), Regulariser(0.1, None)),  # DeCov has its published scale
        ("vcreg-0.1", Regulariser(0.1, None), Regulariser(0.1, None)),
        ("batchnorm", Regulariser(), Regulariser()),
    ],
)
def test_what_variants_add_to_training(variant, released, text):
    for protocol, wanted in ((RELEASED, released), (TEXT, text)):
        added = Variant.parse(variant).regulariser(protocol)
        assert (added.penalty_weight is None) == (wanted.penalty_weight is None)
        assert (added.penalty_weight or 0) == pytest.approx(wanted.penalty_weight or 0)
        assert added.dropout_rate == wanted.dropout_rate


@pytest.mark.parametrize(
    ("typed", "name", "title"),
    [
        ("vanilla", "vanilla", "VANILLANET"),
        ("drop-0.30", "drop", "DROPNET"),
        ("drop-0.5", "drop-0.5", "DROPNET-0.5"),
        ("dropout", "drop", "DROPNET"),
        ("dropout-.5", "drop-0.5", "DROPNET-0.5"),
        ("corr-1", "corr-1.0", "CORRNET-1.0"),
        ("corr-.1", "corr-0.1", "CORRNET-0.1"),
        ("corr--0", "corr-0.0", "CORRNET-0.0"),
        ("corr-1e-05", "corr-1e-05", "CORRNET-1E-05"),
        ("corr-1-cosine", "corr-1.0-cosine", "CORRNET-1.0-COSINE"),
        ("decov-.1", "decov-0.1", "DECOVNET-0.1"),
        ("vcreg-1-cosine", "vcreg-1.0-cosine", "VCREGNET-1.0-COSINE"),
        ("batchnorm", "batchnorm", "BATCHNORMNET"),
        ("whiten", "whiten", "WHITENNET"),
        ("corr-1e-05-exponential", "corr-1e-05-exponential", "CORRNET-1E-05-EXPONENTIAL"),
    ],
)
def test_a_variant_has_one_name_however_it_is_typed(typed, name, title):
    variant = Variant.parse(typed)
    assert (variant.name, variant.title) == (name, title)
    assert Variant.parse(name) == variant
    network = Network("huge", variant)
    assert Network.parse(network.name) == network and network.title == f"HUGE-{title}"


def test_networks_are_ordered_as_in_table_1_then_by_variant():
    names = [
        *(
            "tiny-vanilla",
            "tiny-drop-0.1",
            "tiny-drop",
            "tiny-corr-0.1",
            "tiny-corr-1.0",
            "tiny-corr-1.0-cosine",
        ),
        *("tiny-corr-10.0", "huge-vanilla"),
    ]
    assert sorted(reversed(names), key=lambda name: Network.parse(name).order) == names


@pytest.mark.parametrize(
    "variant",
    [
        *("corr", "corr-", "corr-x", "corr--1", "corr-nan", "corr-inf", "corr-1_0", "corr- 1"),
        *("drop-", "drop-1", "drop--0.1", "drop-nan"),
        *("vanilla-1", "vanilla-", "batchnorm-1", "whiten-", "decov", "foo", ""),
        *(
            "vanilla-cosine",
            "drop-cosine",
            "drop-0.3-cosine",
            "corr-cosine",
            "corr-1-linear",
            "corr-1-constant",
            "corr-1-cosine-exponential",
            "corr-1-exponential-cosine",
        ),
    ],
)
def test_unknown_variants(variant):
    weighted = "{0}-WEIGHT with WEIGHT >= 0, {0}-WEIGHT-cosine, {0}-WEIGHT-exponential"
    usages = ", ".join(
        ("vanilla, drop, drop-RATE with 0 <= RATE < 1", *map(weighted.format, ("corr", "decov", "vcreg")))
    )
    usages += ", batchnorm, whiten"
    with pytest.raises(ValueError, match=f"^unknown variant '{variant}': choose from {usages}$"):
        Variant.parse(variant)


@pytest.mark.parametrize(
    ("typed", "meant"), [("vanila", "vanilla"), ("dropuot-0.5", "drop"), ("batch-norm", "batchnorm")]
)
def test_a_variant_typed_wrong_is_recognised(typed, meant):
    message = rf"^unknown variant '{typed}' \(did you mean '{meant}'\?\): choose from vanilla, "
    with pytest.raises(ValueError, match=message):
        Variant.parse(typed)
