"""The page's results that test no hypothesis, such as ranks of methods, and effects in settings without a
hypothesis."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiments.comparison import analysis, results
from experiments.comparison.analysis import Networks
from experiments.comparison.planned import RATES, SHOTS
from experiments.comparison.recipes import METHODS, WITHOUT_LABELS, Recipe, draws
from experiments.comparison.results import Row, Stored
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
    failed: int
    """How many trials of the search failed."""
    trials: int

    @property
    def too_narrow(self) -> bool:
        """Whether the range of the learning rate was too narrow, by PLAN.md's rule."""
        return self.at["learning_rate"] > self.settings / 3


def edges(settings: Sequence[Stored]) -> Iterator[Edge]:
    """Yields an `Edge` for every method that tunes its hyperparameters, from the settings that report the
    method."""
    tuned = [stored for stored in settings if stored.searched and stored.setting["title"] != RATES]
    for name, method in (METHODS | WITHOUT_LABELS).items():
        chosen, failed, trials = [], 0, 0
        for stored in tuned:
            reported = results.of(stored.reported, name)
            if not reported or method.numbers_of is not None or name == "untrained":
                continue
            plain = stored.setting["plain"]
            recipe = Recipe(optimiser=plain["optimiser"], weight_decay=plain["weight_decay"])
            points = stored.setting["budget"]["points"]
            chosen.append(draws(method, recipe, points)[int(reported[0]["point"])])
            searched = results.of(stored.searched, name)
            failed, trials = failed + results.failed(searched), trials + len(searched)
        if chosen:
            numbers = dict.fromkeys(number for each in chosen for number in each)
            at = {
                number: sum(abs(each.get(number, 0.5) - 0.5) > 0.5 - EDGE for each in chosen)
                for number in numbers
            }
            yield Edge(name, len(chosen), at, failed, trials)


def best_of(stored: Stored, method: str, tried: int) -> float:
    """Returns the expected tuning error of the best of `tried` points, drawn at random from the method's
    points."""
    errors = np.array([row["tuning_error"] for row in results.of(stored.searched, method)], float)
    return over_sets.expected_best(errors, errors, tried)


EVERYONE, IMAGES, TABLES = "all data sets", "small images", "tables"
DAMAGED = "noisy inputs and 80% of weights pruned (mean error)"


class Readers(NamedTuple):
    """A kind of data or network, and its finished networks."""

    kind: str
    networks: Networks
    measures: tuple[str, ...] = ("test_error",)


def readers(settings: Sequence[Stored]) -> list[Readers]:
    """Returns the kinds of readers for whom there are networks."""
    usual, probes = analysis.of(settings), analysis.of(settings, "features")
    of_usual = [
        Readers(EVERYONE, usual),
        Readers(IMAGES, analysis.kind(usual, True)),
        Readers(TABLES, analysis.kind(usual, False)),
        Readers(DAMAGED, usual, analysis.DAMAGES),
    ]
    others = [
        *(Readers(f"{rows:,} rows", analysis.of(settings, rows=rows)) for rows in analysis.LARGER),
        Readers("AdamW", analysis.of(settings, "adamw")),
        Readers("convolutional networks", analysis.of(settings, "conv")),
        *(
            Readers(f"features for new classes, {shots} rows of each", probes, (f"layer_3_{shots}_error",))
            for shots in SHOTS
        ),
    ]
    # If all samples have 5,000 rows, for example, this kind is that of all data sets.
    return [
        each for each in of_usual + [other for other in others if other.networks != usual] if each.networks
    ]


MEASURES = {
    "Probabilities of the classes": {
        "nll": "test_nll",
        "after scaling": "scaled_nll",
        "calibration error": "test_calibration_error",
        "calibration error after scaling": "scaled_calibration_error",
    },
    "Test error under damage": {
        "80% of weights pruned": "pruned_error",
        "noise": "noise_error",
        "missing entries (tables)": "missing_error",
    },
    "Test error on damaged images": {
        name: f"{name}_error" for name in ("contrast", "blur", "shift", "rotation")
    },
    "Effective units": {f"layer {layer}": f"effective_units_{layer}" for layer in (1, 2, 3)},
}
"""The measures beside the test error: maps the title of a table to its columns, and a column to the name of
its measure."""


def measured(networks: Networks, measure: str) -> dict[str, list[Row]]:
    """Keeps the data sets on which every network has a finite value of a measure. For example, tables have no
    blur_error, and a network whose logits are not finite has no test_nll."""
    return {
        name: rows
        for name, rows in networks.items()
        if np.isfinite([row.get(measure, np.nan) for row in rows]).all()
    }


def transfer(settings: Sequence[Stored]) -> Iterator[tuple[int, int, str, Effect]]:
    """Yields the effects on probes, as (hidden layer, number of rows of each held-out class, method, effect).
    The effect compares a probe's error on the method's features with its error on vanilla's features."""
    networks = analysis.of(settings, "features")
    for layer, shots, method in itertools.product((1, 2, 3), SHOTS, METHODS):
        if method != "vanilla":
            measure = f"layer_{layer}_{shots}_error"
            yield layer, shots, method, analysis.effect(networks, method, "vanilla", (measure,))
