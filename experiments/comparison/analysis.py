"""Part 2 of PLAN.md: tests the hypotheses about the methods on all data sets together."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from experiments.comparison import results
from experiments.comparison.planned import SETS
from experiments.comparison.recipes import METHODS
from experiments.comparison.results import Row, Stored
from experiments.statistics import intervals, over_sets
from experiments.statistics.over_sets import Effect
from experiments.statistics.verdicts import Comparison, Quantity, Verdict
from experiments.statistics.verdicts import Outcome as VerdictOutcome

Networks = Mapping[str, list[Row]]
"""Maps the name of a data set to its reported networks."""
Outcome = Literal["holds", "fails", "open"]

MARGIN = math.log(1.02)
"""Two mean errors count as equal if |log of their ratio| is at most this: a difference of about 2%."""
EARLIER = "42066ab"
"""The last commit with the earlier comparison, which had constant learning rates, PReLU and three tuning
seeds."""
FEWEST = 3
"""With fewer data sets than this, there is no advice, no outcome and no interval: with two data sets, an
interval has one degree of freedom."""
DAMAGES = ("noise_error", "pruned_error")
LARGER = 5000, 60_000
"""The plan's larger numbers of rows."""


class Hypothesis(NamedTuple):
    """A hypothesis of the plan: log(error of `method` / error of `against`) is below `bound`."""

    name: str
    text: str
    method: str
    against: str
    measures: tuple[str, ...] = ("test_error",)
    bound: float = 0.0
    """For H4, the bound is `MARGIN`, and the test is one-sided."""


HYPOTHESES = (
    Hypothesis("H1", "corr errs less than vanilla", "corr", "vanilla"),
    Hypothesis("H2", "corr-dropout errs less than dropout", "corr-dropout", "dropout"),
    Hypothesis("H3", "corr errs less than decov", "corr", "decov"),
    Hypothesis("H4", "corr-fading errs at most 2% more than vanilla", "corr-fading", "vanilla", bound=MARGIN),
    Hypothesis("H5", "under damage, corr-dropout errs less than dropout", "corr-dropout", "dropout", DAMAGES),
)


class Judged(NamedTuple):
    """A hypothesis after its test."""

    hypothesis: Hypothesis
    effect: Effect
    better: intervals.Interval
    """P(A > B): the probability that a network of the method has a smaller error than a network of the other
    method, with a 95% bootstrap interval."""
    p: float
    """The p-value, with Holm's correction for five hypotheses."""
    equivalent: float
    """The p-value of two one-sided tests that the mean effect lies within `MARGIN`. It is not corrected."""
    outcome: Outcome

    @property
    def says(self) -> str:
        """The outcome in words for users."""
        if not enough(self.effect):
            return "too few data sets"
        return {"holds": "less error", "fails": "more error", "open": "not decided"}[self.outcome]


def by_set(settings: Sequence[Stored], title: str = "", rows: int = 1000) -> dict[str, Stored]:
    """Returns a dict from each data set to its setting of a kind, with the plan's data sets first. Settings
    without reported networks are left out.

    Args:
      settings: all settings of a folder.
      title: the kind of settings, as in `Part.title`.
      rows: number of rows in each sample. If it is 1,000, each data set has its largest sample of at most
        1,000 rows, because some data sets are smaller. A data set with larger samples only has the smallest
        of them, unless this is another kind of the plan.
    """
    by_pool: dict[str, dict[int, Stored]] = {}
    for each in settings:
        if each.reported and each.setting["title"] == title:
            by_pool.setdefault(each.setting["pool"], {})[each.setting["rows"]] = each
    found = {}
    for pool, by_rows in by_pool.items():
        count = rows
        if rows == 1000:
            other_kinds = LARGER if pool in SETS else ()
            larger = [each for each in by_rows if each > rows and each not in other_kinds]
            count = max((each for each in by_rows if each <= rows), default=min(larger, default=rows))
        if count in by_rows:
            found[pool] = by_rows[count]
    return {pool: found[pool] for pool in (*SETS, *found) if pool in found}


def of(settings: Sequence[Stored], title: str = "", rows: int = 1000) -> dict[str, list[Row]]:
    """Returns a dict from each data set to the reported networks of the setting that `by_set` selects."""
    return {pool: stored.reported for pool, stored in by_set(settings, title, rows).items()}


def errors(networks: Networks, method: str, measures: Sequence[str] = ("test_error",)) -> np.ndarray:
    """Returns a method's errors [set, seed]: for each network, the mean of the given measures. If
    data sets have different numbers of seeds, each gives its first seeds, as many as the smallest number."""
    by_set = []
    for rows in networks.values():
        of_method = sorted(results.of(rows, method), key=lambda row: row["seed"])
        by_set.append([np.mean([row[measure] for measure in measures]) for row in of_method])
    seeds = min(map(len, by_set), default=0)
    return np.array([values[:seeds] for values in by_set]).reshape(len(by_set), seeds)


def having(networks: Networks, *methods: str) -> dict[str, list[Row]]:
    """Keeps the data sets in which all of the given methods have reported networks."""
    return {name: rows for name, rows in networks.items() if set(methods) <= {row["method"] for row in rows}}


def effect(
    networks: Networks, method: str, against: str, measures: Sequence[str] = ("test_error",)
) -> Effect:
    """Returns log(error of `method` / error of `against`), averaged over the data sets with both methods.
    Data sets on which either method never errs have no such ratio, and are left out."""
    both = having(networks, method, against)
    pair = [errors(both, name, measures) for name in (method, against)]
    err = np.all([values.any(axis=1) for values in pair], axis=0)
    return over_sets.log_ratio(*(values[err] for values in pair))


def enough(effect: Effect) -> bool:
    """Whether an effect has at least `FEWEST` data sets."""
    return len(effect.sets) >= FEWEST


def judge(networks: Networks) -> list[Judged]:
    """Tests the hypotheses on the data sets that are given."""
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
        if enough(ratio) and p < 0.05:
            outcome = "holds" if ratio.interval.estimate < hypothesis.bound else "fails"
        elif enough(ratio) and hypothesis.bound and ratio.interval.low > hypothesis.bound:
            outcome = "fails"
        judged.append(Judged(hypothesis, ratio, better, float(p), ratio.equivalent(MARGIN), outcome))
    return judged


def c10(settings: Sequence[Stored]) -> tuple[Verdict, ...]:
    """Returns the verdict that H3 gives on the paper's sentence about correlations and covariances. Returns
    () if a data set is missing."""
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
            "We read this sentence as follows: if both penalties are tuned alike, the test error is smaller "
            "with the penalty on correlations than with DeCov's on covariances. We decide by hypothesis H3 "
            f"of the comparison's plan, over {len(SETS)} data sets. Under an earlier protocol (commit "
            f"{EARLIER}), the sentence held in part.",
            of="data sets",
        ),
    )


class Advice(NamedTuple):
    """The advice on a method for one kind of data, by PLAN.md's rule."""

    images: bool
    method: str
    against: str
    """vanilla or dropout, whichever has the smaller mean error on this kind of data."""
    effect: Effect

    @property
    def says(self) -> Literal["use it", "do not use it", "not decided", "too few data sets"]:
        low, high = self.effect.interval[1:]
        if not enough(self.effect):
            return "too few data sets"
        return "use it" if high < 0 else "do not use it" if low > 0 else "not decided"


def advice(networks: Networks) -> Iterator[Advice]:
    """Yields the advice on each method except vanilla and dropout, for images and for tables."""
    for images in (True, False):
        of_kind = kind(networks, images)
        against = better_of(of_kind, "vanilla", "dropout")
        for method in [name for name in METHODS if name not in ("vanilla", "dropout")]:
            of_method = effect(of_kind, method, against)
            if len(of_method.sets):
                yield Advice(images, method, against, of_method)


def better_of(networks: Networks, method: str, other: str) -> str:
    """Returns which of two methods has the smaller error, averaged over data sets."""
    effect_of_method = effect(networks, method, other).interval.estimate
    return other if effect_of_method > 0 else method


def kind(networks: Networks, images: bool) -> dict[str, list[Row]]:
    """Keeps the data sets of images or, if `images` is False, of tables. Images are recognised by their
    blur_error, which tables lack."""
    return {name: rows for name, rows in networks.items() if ("blur_error" in rows[0]) == images}
