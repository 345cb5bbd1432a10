"""Times are estimated from the networks that are most alike."""

import dataclasses
import statistics

import pytest

from experiments.comparison import results, timing
from experiments.comparison.planned import CONVOLUTIONAL, PLAIN
from experiments.comparison.settings import Setting

CONV = dataclasses.replace(PLAIN, family="conv", architecture=CONVOLUTIONAL, steps=3000)


def seconds_of_vanilla(name):
    _, rows = results._contents(results.REFERENCE / f"{name}-1000-conv.nc")
    return [row["seconds"] for row in results.of(rows, "vanilla")]


def test_the_own_data_set_is_asked_before_the_others():
    digits, *others = map(seconds_of_vanilla, ("digits", "fashion_mnist", "mnist"))
    for pool, alike in (("digits", digits), ("cifar10", [*digits, *others[0], *others[1]])):
        expected = 3 * statistics.median(alike)  # 3,000 steps; the reference has 1,000
        assert timing.seconds(Setting(pool, "", 500, CONV), "vanilla", []) == pytest.approx(expected)


def test_finished_networks_of_the_setting_come_first():
    done = [{"seconds": 1.0}, {"seconds": 9.0}, {"seconds": 2.0}]
    assert timing.seconds(Setting("digits", "", 500, CONV), "vanilla", done) == 2.0
