"""The protocols' numbers, and the names that users type."""

import dataclasses
import itertools

import pytest

from decorr.config import ABLATION, PAPER, PROTOCOLS, RELEASED, SIZES, VARIANTS, Regulariser

WIDTHS = {
    "huge": (360, 180, 90),
    "large": (280, 140, 70),
    "medium": (200, 100, 50),
    "small": (120, 60, 30),
    "tiny": (40, 20, 10),
}


@pytest.mark.parametrize("size", SIZES)
def test_widths(size):
    assert RELEASED.architecture(size).widths == PAPER.architecture(size).widths == WIDTHS[size]
    ascending = dataclasses.replace(RELEASED, width_order="ascending")
    assert ascending.architecture(size).widths == WIDTHS[size][::-1]


def test_unknown_size():
    with pytest.raises(ValueError, match=r"^unknown size 'vast'; .*tiny, small, medium, large, huge$"):
        RELEASED.architecture("vast")


@pytest.mark.parametrize(
    ("variant", "released", "paper"),
    [
        ("vanilla", Regulariser(), Regulariser()),
        ("drop", Regulariser(None, 0.3), Regulariser(None, 0.3)),
        ("drop-0.5", Regulariser(None, 0.5), Regulariser(None, 0.5)),
        ("drop-0", Regulariser(None, 0.0), Regulariser(None, 0.0)),
        ("corr-0.1", Regulariser(0.002, None), Regulariser(0.1, None)),
        ("corr-1.0", Regulariser(0.02, None), Regulariser(1.0, None)),
        ("corr-1e-3", Regulariser(2e-5, None), Regulariser(1e-3, None)),
    ],
)
def test_variants(variant, released, paper):
    for protocol, wanted in ((RELEASED, released), (PAPER, paper)):
        found = protocol.regulariser(variant)
        assert (found.penalty_weight is None) == (wanted.penalty_weight is None)
        assert (found.penalty_weight or 0) == pytest.approx(wanted.penalty_weight or 0)
        assert found.dropout_rate == wanted.dropout_rate


def test_the_papers_variants_are_known():
    assert len({RELEASED.regulariser(variant) for variant in VARIANTS}) == 4


@pytest.mark.parametrize(
    "variant",
    [
        "corr",
        "corr-",
        "corr-x",
        "corr--1",
        "corr-nan",
        "corr-inf",
        "drop-",
        "drop-1",
        "drop--0.1",
        "drop-nan",
        "vanilla-1",
        "vanilla-",
        "foo",
        "",
    ],
)
def test_unknown_variants(variant):
    with pytest.raises(ValueError, match=f"^unknown variant '{variant}'; [^\n]*$"):
        RELEASED.regulariser(variant)


def test_what_the_text_and_the_code_differ_in():
    assert {each.name: each for each in (RELEASED, PAPER, *ABLATION)} == PROTOCOLS
    assert (RELEASED.name, PAPER.name) == ("released", "paper")
    differ = {
        field.name
        for field in dataclasses.fields(RELEASED)
        if getattr(RELEASED, field.name) != getattr(PAPER, field.name)
    }
    assert differ == {
        "name", "input_scaling", "nonlinearity", "negative_slope", "initialisation", "input_dropout",
        "penalty_scale", "optimisation",
    }  # fmt: skip
    assert (RELEASED.optimisation.momentum, PAPER.optimisation.momentum) == (0, 0.8)


@pytest.mark.parametrize(
    "value",
    [RELEASED, RELEASED.optimisation, RELEASED.architecture("tiny"), RELEASED.regulariser("drop")],
    ids=lambda value: type(value).__name__,
)
def test_frozen_and_hashable(value):
    assert hash(dataclasses.replace(value)) == hash(value)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)


def test_the_ablation_goes_from_the_text_to_the_code_one_step_at_a_time():
    named = [dataclasses.replace(each, name="") for each in ABLATION]
    assert named[1] == dataclasses.replace(PAPER, name="")
    assert named[-1] == dataclasses.replace(RELEASED, name="")
    assert ABLATION[0].architecture("huge").widths == (90, 180, 360)
    assert len({each.name for each in ABLATION}) == len(set(named)) == 8
    for before, after in itertools.pairwise(named):
        changed = {
            f.name for f in dataclasses.fields(after) if getattr(before, f.name) != getattr(after, f.name)
        }
        assert len(changed) == 1 or changed == {"nonlinearity", "negative_slope"}
