"""The page's results that test no hypothesis, such as ranks of methods, and effects in settings without a
hypothesis."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiments.comparison import analysis, results
from experiments.comparison.analysis import Networks
from experiments.comparison.planned import SHOTS
from experiments.comparison.recipes import METHODS, Recipe, draws
from experiments.comparison.results import Stored
from experiments.statistics import over_sets
from experiments.statistics.intervals import Interval
from experiments.statistics.over_sets import Effect

EDGE = 0.05
"""A chosen hyperparameter is at an edge if its distance from an end of its range is below this share of the
range."""


class Standing(NamedTuple):
    """How a method compares with the other methods that were trained on all data sets."""

    method: str
    rank: float
    ratio: Effect
    """The ratio of the method's errors to vanilla's."""
    interquartile: Interval
    """The interquartile mean of the method's errors, each divided by vanilla's mean error on the same data
    set, with a 95% bootstrap interval."""
    failed: int
    networks: int


def standings(networks: Networks) -> tuple[list[Standing], over_sets.Ranks]:
    """Returns the methods that were trained on all data sets, sorted by mean rank, the best first. Also
    returns the ranks, with tests of whether methods differ."""
    methods = [name for name in METHODS if all(results.of(rows, name) for rows in networks.values())]
    by_method = {method: analysis.errors(networks, method) for method in methods}
    ranks = over_sets.ranks(np.array([values.mean(axis=1) for values in by_method.values()]))
    plain = by_method["vanilla"].mean(axis=1, keepdims=True)
    rows = [
        Standing(
            method,
            float(rank),
            analysis.effect(networks, method, "vanilla"),
            over_sets.bootstrap_interval(over_sets.interquartile_mean, by_method[method] / plain),
            sum(results.failed(results.of(rows, method)) for rows in networks.values()),
            sum(len(results.of(every, method)) for every in networks.values()),
        )
        for method, rank in zip(methods, ranks.mean, strict=True)
    ]
    return sorted(rows, key=lambda row: row.rank), ranks


class Edge(NamedTuple):
    """How often a method's chosen hyperparameters lie at an end of their ranges."""

    method: str
    settings: int
    at: dict[str, int]
    """For each hyperparameter, the number of settings in which its chosen value lies at an end."""

    @property
    def too_narrow(self) -> bool:
        """Whether the range of the learning rate was too narrow, by PLAN.md's rule."""
        return self.at["learning_rate"] > self.settings / 3


def edges(settings: Sequence[Stored]) -> Iterator[Edge]:
    """Yields an `Edge` for every method that tunes its hyperparameters, from the settings that report the
    method."""
    tuned = [stored for stored in settings if stored.searched and stored.setting["title"] != "views"]
    for name, method in METHODS.items():
        chosen = []
        for stored in tuned:
            if method.numbers_of is None and (reported := results.of(stored.reported, name)):
                plain = stored.setting["plain"]
                recipe = Recipe(optimiser=plain["optimiser"], weight_decay=plain["weight_decay"])
                points = stored.setting["budget"]["points"]
                chosen.append(draws(method, recipe, points)[int(reported[0]["point"])])
        if chosen:
            numbers = dict.fromkeys(number for each in chosen for number in each)
            at = {
                number: sum(abs(each.get(number, 0.5) - 0.5) > 0.5 - EDGE for each in chosen)
                for number in numbers
            }
            yield Edge(name, len(chosen), at)


def best_of(stored: Stored, method: str, tried: int) -> float:
    """Returns the expected tuning error of the best of `tried` points, drawn at random from the method's
    points."""
    errors = np.array([row["tuning_error"] for row in results.of(stored.searched, method)], float)
    return over_sets.expected_best(errors, errors, tried)


ELSEWHERE = {
    "1,000 rows": ("", 1000),
    "5,000 rows": ("", 5000),
    "AdamW, 1,000 rows": ("adamw", 1000),
    "convolutional, 1,000 images": ("conv", 1000),
    "all images": ("", 60_000),
}
"""Maps the page's name for a kind of settings to the title and the number of rows of these settings."""
PAIRS = (("corr", "vanilla"), ("corr-dropout", "dropout"), ("corr-dropout", "vanilla"))


def elsewhere(settings: Sequence[Stored]) -> Iterator[tuple[str, str, str, Effect]]:
    """Yields the effects in finished settings, as (kind of settings, method, method that it is compared with,
    effect)."""
    for kind, (title, rows) in ELSEWHERE.items():
        networks = analysis.of(settings, title, rows)
        for method, against in PAIRS:
            effect = analysis.effect(networks, method, against)
            if len(effect.sets):
                yield kind, method, against, effect


def transfer(settings: Sequence[Stored]) -> Iterator[tuple[int, int, str, Effect]]:
    """Yields the effects on probes, as (hidden layer, number of rows of each held-out class, method, effect).
    The effect compares a probe's error on the method's features with its error on vanilla's features."""
    networks = analysis.of(settings, "features")
    for layer, shots, method in itertools.product((1, 2, 3), SHOTS, METHODS):
        if method != "vanilla":
            measure = f"layer_{layer}_{shots}_error"
            yield layer, shots, method, analysis.effect(networks, method, "vanilla", (measure,))
