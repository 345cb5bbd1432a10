"""What the page describes beside the hypotheses: all methods, the edges of their ranges, other settings."""

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
"""Share of a range, at both of its ends, in which a chosen number counts as at the edge."""


class Standing(NamedTuple):
    """A method's place among the methods that all data sets have."""

    method: str
    rank: float
    ratio: Effect
    """Of its errors to vanilla's."""
    interquartile: Interval
    """The interquartile mean of its errors / vanilla's mean error of the set; 95% bootstrap interval."""
    failed: int
    networks: int


def standings(networks: Networks) -> tuple[list[Standing], over_sets.Ranks]:
    """The methods that all data sets have, best mean rank first; Friedman's test and Nemenyi's distance."""
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
            int(sum(row["failed"] for every in networks.values() for row in results.of(every, method))),
            sum(len(results.of(every, method)) for every in networks.values()),
        )
        for method, rank in zip(methods, ranks.mean, strict=True)
    ]
    return sorted(rows, key=lambda row: row.rank), ranks


class Edge(NamedTuple):
    """How often a method's chosen numbers lie at an end of their ranges."""

    method: str
    settings: int
    at: dict[str, int]
    """By number, in how many of the settings."""

    @property
    def too_narrow(self) -> bool:
        """Whether the range of the learning rate was, by PLAN.md's rule."""
        return self.at["learning_rate"] > self.settings / 3


def edges(settings: Sequence[Stored]) -> Iterator[Edge]:
    """Of every method that tunes its numbers, over the settings in which it is reported."""
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
    """The expected tuning error of a method's best point, if `tried` points are drawn."""
    errors = np.array([row["tuning_error"] for row in results.of(stored.searched, method)], float)
    return over_sets.expected_best(errors, errors, tried)


ELSEWHERE = {
    "1,000 rows": ("", 1000),
    "5,000 rows": ("", 5000),
    "AdamW, 1,000 rows": ("adamw", 1000),
    "convolutional, 1,000 images": ("conv", 1000),
    "all images": ("", 60_000),
}
"""By the name that the page gives them: title and rows of the settings that are described."""
PAIRS = (("corr", "vanilla"), ("corr-dropout", "dropout"), ("corr-dropout", "vanilla"))


def elsewhere(settings: Sequence[Stored]) -> Iterator[tuple[str, str, str, Effect]]:
    """Kind of settings, method, the one that it is compared with, and the effect, of those that are done."""
    for kind, (title, rows) in ELSEWHERE.items():
        networks = analysis.of(settings, title, rows)
        for method, against in PAIRS:
            effect = analysis.effect(networks, method, against)
            if len(effect.sets):
                yield kind, method, against, effect


def transfer(settings: Sequence[Stored]) -> Iterator[tuple[int, int, str, Effect]]:
    """Hidden layer, rows of each other class, method, and the effect of its probe's error on vanilla's."""
    networks = analysis.of(settings, "features")
    methods = [name for name in METHODS if any(results.of(rows, name) for rows in networks.values())]
    for layer in (1, 2, 3):
        for shots in SHOTS:
            for method in methods:
                if method != "vanilla":
                    measure = f"layer_{layer}_{shots}_error"
                    yield layer, shots, method, analysis.effect(networks, method, "vanilla", (measure,))
