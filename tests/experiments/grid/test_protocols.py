"""The paper's protocols: how text and code differ, and the steps between them."""

import dataclasses
import itertools

from experiments.grid.protocols import ABLATION, DECAY, PAPER, PROTOCOLS, RELEASED, WITHOUT


def test_what_the_text_and_the_code_differ_in():
    assert {each.name: each for each in (RELEASED, PAPER, DECAY, *ABLATION, *WITHOUT)} == PROTOCOLS
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


def test_the_ablation_goes_from_the_text_to_the_code_one_step_at_a_time():
    named = [dataclasses.replace(each, name="") for each in ABLATION]
    assert named[1] == dataclasses.replace(PAPER, name="")
    assert named[-1] == dataclasses.replace(RELEASED, name="")
    assert ABLATION[0].architecture("huge").widths == (90, 180, 360)
    assert len({each.name for each in ABLATION}) == len(set(named)) == 8
    for before, after in itertools.pairwise(named):
        assert_one_step(changed(before, after))


def test_each_step_taken_back_is_one_step_from_the_code():
    steps = [changed(RELEASED, each) - {"name"} for each in WITHOUT]
    assert len(steps) == 7 and len({frozenset(step) for step in steps}) == 7
    for step in steps:
        assert_one_step(step)
    assert WITHOUT[0].architecture("huge").widths == (90, 180, 360)


def test_a_rate_that_shrinks_is_all_that_decay_has():
    assert changed(RELEASED, DECAY) == {"name", "optimisation"}
    assert DECAY.optimisation == dataclasses.replace(RELEASED.optimisation, schedule="cosine")


def changed(before, after):
    return {f.name for f in dataclasses.fields(after) if getattr(before, f.name) != getattr(after, f.name)}


def assert_one_step(step):
    assert len(step) == 1 or step == {"nonlinearity", "negative_slope"}
