"""Part 2 of PLAN.md: what all data sets together say about the methods."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from experiments.comparison import results
from experiments.comparison.planned import SETS
from experiments.comparison.results import Row, Stored
from experiments.statistics import intervals, over_sets
from experiments.statistics.over_sets import Effect
from experiments.statistics.verdicts import Comparison, Quantity, Verdict
from experiments.statistics.verdicts import Outcome as VerdictOutcome

Networks = Mapping[str, list[Row]]
"""By data set, the networks of the report."""
Outcome = Literal["holds", "fails", "open"]

MARGIN = math.log(1.02)
"""2% of an error: what counts as no difference."""
EARLIER = "42066ab"
"""The last commit with the comparison that this one replaces: constant rates, PReLU, three seeds a choice."""
FEWEST = 3
"""Data sets below which nothing is advised: an interval from two has one degree of freedom."""
DAMAGES = ("noise_error", "pruned_error")


class Hypothesis(NamedTuple):
    """A sentence of the plan: the log of the ratio of a method's errors to another's is below a bound."""

    name: str
    text: str
    method: str
    against: str
    measures: tuple[str, ...] = ("test_error",)
    bound: float = 0.0
    """H4's is `MARGIN`, and its test one-sided."""


HYPOTHESES = (
    Hypothesis("H1", "corr errs less than vanilla", "corr", "vanilla"),
    Hypothesis("H2", "corr-dropout errs less than dropout", "corr-dropout", "dropout"),
    Hypothesis("H3", "corr errs less than decov", "corr", "decov"),
    Hypothesis("H4", "corr-fading errs at most 2% more than vanilla", "corr-fading", "vanilla", bound=MARGIN),
    Hypothesis("H5", "under damage corr-dropout errs less than dropout", "corr-dropout", "dropout", DAMAGES),
)


class Judged(NamedTuple):
    """A hypothesis after its test."""

    hypothesis: Hypothesis
    effect: Effect
    better: intervals.Interval
    """P(A > B): how often a network of the method errs less, with a 95% bootstrap interval."""
    p: float
    """Corrected by Holm for the five."""
    equivalent: float
    """p of two one-sided tests that the mean effect lies within `MARGIN`; not corrected."""
    outcome: Outcome


def by_set(settings: Sequence[Stored], title: str = "", rows: int = 1000) -> dict[str, Stored]:
    """The settings of one kind that have reported networks, by data set; the plan's data sets come first.

    Args:
      settings: of a folder.
      title: the kind, as `Part.title`.
      rows: of the samples; a set with fewer has what it has.
    """
    found = {
        stored.setting["pool"]: stored
        for stored in settings
        if stored.reported
        and stored.setting["title"] == title
        and (stored.setting["rows"] == rows or (rows == 1000 and stored.setting["rows"] < rows))
    }
    return {pool: found[pool] for pool in (*SETS, *found) if pool in found}


def of(settings: Sequence[Stored], title: str = "", rows: int = 1000) -> dict[str, list[Row]]:
    """The reported networks of these settings, by data set; arguments as in `by_set`."""
    return {pool: stored.reported for pool, stored in by_set(settings, title, rows).items()}


def errors(networks: Networks, method: str, measures: Sequence[str] = ("test_error",)) -> np.ndarray:
    """The mean of some measures of a method's networks [set, seed]."""
    by_set = []
    for rows in networks.values():
        of_method = sorted(results.of(rows, method), key=lambda row: row["seed"])
        by_set.append([np.mean([row[measure] for measure in measures]) for row in of_method])
    return np.array(by_set) if by_set else np.empty((0, 0))


def having(networks: Networks, *methods: str) -> dict[str, list[Row]]:
    """The data sets in which all of these methods are reported."""
    return {name: rows for name, rows in networks.items() if set(methods) <= {row["method"] for row in rows}}


def effect(
    networks: Networks, method: str, against: str, measures: Sequence[str] = ("test_error",)
) -> Effect:
    """The log of the ratio of mean errors of two methods over the data sets that have both."""
    both = having(networks, method, against)
    return over_sets.log_ratio(errors(both, method, measures), errors(both, against, measures))


def judge(networks: Networks) -> list[Judged]:
    """The hypotheses, by the data sets that there are."""
    found, p_values = [], []
    for hypothesis in HYPOTHESES:
        ratio = effect(networks, hypothesis.method, hypothesis.against, hypothesis.measures)
        found.append(ratio)
        p_values.append(ratio.p if hypothesis.bound == 0 else ratio.below(hypothesis.bound))
    judged = []
    corrected = intervals.holm(np.array(p_values))
    for hypothesis, ratio, p in zip(HYPOTHESES, found, corrected, strict=True):
        both = having(networks, hypothesis.method, hypothesis.against)
        pairs = [errors(both, name, hypothesis.measures) for name in (hypothesis.method, hypothesis.against)]
        nothing = intervals.Interval(*[float("nan")] * 3)
        better = over_sets.bootstrap_interval(over_sets.better, *pairs) if both else nothing
        outcome: Outcome = "open"
        if p < 0.05:
            outcome = "holds" if ratio.interval.estimate < hypothesis.bound else "fails"
        elif hypothesis.bound and ratio.interval.low > hypothesis.bound:
            outcome = "fails"
        judged.append(Judged(hypothesis, ratio, better, float(p), ratio.equivalent(MARGIN), outcome))
    return judged


def c10(settings: Sequence[Stored]) -> tuple[Verdict, ...]:
    """The paper's sentence on correlations and covariances, judged by H3; () until H3 has all data sets."""
    networks = of(settings)
    (h3,) = (each for each in judge(networks) if each.hypothesis.name == "H3")
    if len(h3.effect.sets) < len(SETS):
        return ()
    mean, low, high = h3.effect.interval
    outcomes: dict[str, VerdictOutcome] = {"holds": "for", "fails": "against", "open": "open"}
    compared = Comparison(
        "error of decov / error of corr",
        -h3.effect.sets,
        intervals.Interval(-mean, -high, -low),
        outcomes[h3.outcome],
        p=h3.p,
        quantity=Quantity("log of the ratio of errors, decov / corr"),
    )
    return (
        Verdict(
            "C10",
            "1.2",
            "Our proposed method distinguishes itself by discarding magnitude information in order to "
            "penalization correlations directly, as these are likely to be a better reflection of the "
            "feature information encoded by the units.",
            (compared,),
            "Read as: at equal tuning the test error is smaller with the penalty on correlations than with "
            "DeCov's on covariances. Hypothesis H3 of the comparison's plan judges it, over "
            f"{len(SETS)} data sets. An earlier protocol (commit {EARLIER}) said that it holds in part.",
            of="data sets",
        ),
    )


class Advice(NamedTuple):
    """What a kind of data says about a method, by PLAN.md's rule."""

    images: bool
    method: str
    against: str
    """The better of vanilla and dropout there."""
    effect: Effect

    @property
    def says(self) -> Literal["use it", "do not", "not decided", "too few data sets"]:
        low, high = self.effect.interval[1:]
        if len(self.effect.sets) < FEWEST:
            return "too few data sets"
        return "use it" if high < 0 else "do not" if low > 0 else "not decided"


def advice(networks: Networks) -> Iterator[Advice]:
    """For images and for tables, on the penalty alone and with dropout."""
    for images in (True, False):
        of_kind = kind(networks, images)
        against = better_of(of_kind, "vanilla", "dropout")
        for method in ("corr", "corr-dropout"):
            of_method = effect(of_kind, method, against)
            if len(of_method.sets):
                yield Advice(images, method, against, of_method)


def better_of(networks: Networks, method: str, other: str) -> str:
    """The one of two methods that errs less in the mean over data sets."""
    effect_of_method = effect(networks, method, other).interval.estimate
    return other if effect_of_method > 0 else method


def kind(networks: Networks, images: bool) -> dict[str, list[Row]]:
    """The data sets of images, or those of tables. Only images have a blur_error."""
    return {name: rows for name, rows in networks.items() if ("blur_error" in rows[0]) == images}
