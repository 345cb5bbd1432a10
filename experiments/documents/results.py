"""The committed results, under the names in sentences.txt. Errors are in [0, 1], and a point is 0.01."""

import functools
import json
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from decorr.chance import independent_penalty
from experiments.comparison import analysis, described, ladder, planned, results
from experiments.comparison.planned import STEPS
from experiments.comparison.recipes import METHODS, Numbers, search
from experiments.comparison.results import stored
from experiments.grid.networks import SIZES, Family, Network, Recipe, Size
from experiments.grid.protocols import CORR_01, DROP, PAPER, RELEASED, VANILLA
from experiments.paper import ablation, agreement, claims, published, report
from experiments.paper.beyond import STUDIES, merging
from experiments.paper.claims import BELOW_HUGE
from experiments.paper.slopes import FLAT, by_slope
from experiments.paper.study import MARGIN
from experiments.statistics.intervals import Interval, holm
from experiments.statistics.verdicts import Verdict
from experiments.store import gathered

# These names are used in sentences.txt only.
__all__ = ["BELOW_HUGE", "DROP", "FLAT", "MARGIN", "METHODS", "independent_penalty"]

PROBE = "layer_3_50_error"
"""The error of a linear probe on the last hidden layer, with 50 rows of each held-out class."""
BENCHMARK = Path(__file__).parents[1] / "benchmark" / "reference" / "benchmark.json"

sweeps = functools.cache(report.references)
measurements = functools.cache(report.measurements_of)
weight, initial_slope = RELEASED.penalty_weight, RELEASED.negative_slope
momentum = PAPER.optimisation.momentum


def cell(sweep: str, network: str) -> xr.Dataset:
    """Returns the results of one network of a sweep, for all seeds."""
    return gathered.cell_of(sweeps()[sweep], Network.parse(network))


def error(sweep: str, network: str, epoch: int = -1) -> float:
    """Returns the validation error after an epoch, averaged over seeds. Epochs count from 1; -1 is the
    last."""
    return float(claims.error(sweeps()[sweep], Network.parse(network), epoch).mean())


def error_over_sizes(sweep: str, variant: str, epoch: int) -> float:
    """Returns the mean of `error` over the network sizes."""
    return float(np.mean([error(sweep, f"{size}-{variant}", epoch) for size in SIZES]))


def cost(sweep: str, network: str) -> float:
    """Returns a network's error minus the error of vanilla with the same size, after the last epoch, in
    points."""
    return 100 * (error(sweep, network) - error(sweep, f"{network.split('-')[0]}-vanilla"))


def diverged(sweep: str, networks: str = "", by: int | None = None) -> int:
    """Returns how many networks had diverged after epoch `by` (None: the last). `networks` is the name of a
    network or of a variant, or "" for all networks."""
    counts = gathered.diverged(sweeps()[sweep], by)
    return sum(
        count
        for network, (count, _) in counts.items()
        if networks in ("", network.name, network.variant.name)
    )


def widths(size: Size, family: Family = "mlp") -> tuple[int, ...]:
    """Returns the number of units in each hidden layer of a released network, for its size."""
    return Recipe(family=family).architecture(size).widths


def units(network: str) -> float:
    """Returns the effective units of layer 1 of a network trained on MNIST, averaged over seeds."""
    return float(gathered.effective_units(cell("mnist", network)).isel(epoch=-1, layer=0).mean())


@functools.cache
def verdicts() -> dict[str, Verdict]:
    """Returns the verdict on each claim that a study or the comparison judges."""
    results, main = {**sweeps(), **measurements()}, sweeps()["mnist"]
    studies = [verdict for study in STUDIES for verdict in study.verdicts(results, main)]
    return {verdict.claim: verdict for verdict in (*studies, *analysis.c10(compared()))}


def _key(word: Hashable) -> Hashable:
    """Returns the network that a word names, or the word itself if it names no network."""
    is_network = isinstance(word, str) and word.split("-")[0] in SIZES and "-" in word
    return Network.parse(str(word)) if is_network else word


def points(claim: str, *words: Hashable) -> np.ndarray:
    """Returns a comparison's mean difference and the ends of its 95% interval, in points. The words make up
    the comparison's key."""
    key = tuple(map(_key, words))
    return 100 * np.array(verdicts()[claim].comparison(key if len(key) > 1 else key[0]).interval)


def bound(claim: str, *words: Hashable) -> float:
    """Returns the largest absolute difference, in points, within a comparison's 95% interval."""
    return float(abs(points(claim, *words)[1:]).max())


def decided(claim: str, outcome: str = "for") -> list[str]:
    """Returns the names of those comparisons of a claim that have the given outcome."""
    return [comparison.what for comparison in verdicts()[claim].comparisons if comparison.outcome == outcome]


def thirty_new_seeds() -> list[str]:
    """Returns C5's outcomes for the thirty seeds, of forty, that the main sweep lacks."""
    unseen = claims.c5(sweeps()["mnist-forty"].isel(seed=slice(10, None)))
    return [comparison.outcome for comparison in unseen.comparisons]


def published_growth() -> dict[Size, float]:
    """Returns, for each size, the growth of the error in Figure 3 without the penalty minus that with the
    penalty, in points."""
    plain, penalised = (published.FIGURE_3[variant] for variant in (VANILLA, CORR_01))
    return {size: 100 * (plain[size] - penalised[size]) for size in plain}


@functools.cache
def numbers() -> list[agreement.Published]:
    """Returns every published number with the range of a single run of ours."""
    return agreement.compare(sweeps()["mnist"])


def outside() -> list[tuple[float, float]]:
    """Returns the published numbers that lie outside of our ranges, each with the mean of our runs."""
    return [(number.value, number.interval.estimate) for number in numbers() if not number.inside]


def distances(taken_back: bool = False) -> list[float]:
    """Returns the distance from Figure 4 after each step of the ablation. taken_back: returns instead the
    distances of the released code with one step undone."""
    steps = ablation.without(sweeps()) if taken_back else ablation.steps(sweeps())
    return [step.distance for step in steps]


def flat_figure() -> tuple[float, float]:
    """Returns the median of Figure 4's bars, and the mean distance of the bars from the median."""
    bars = np.array(list(published.FIGURE_4_BY_NETWORK.values()))
    return float(np.median(bars)), float(abs(bars - np.median(bars)).mean())


def basins(sweep: str) -> list[np.ndarray]:
    """Returns three groups of HUGE-VANILLANET's seeds, as masks [seed]: with a final slope of layer 1 below
    -0.5, from -0.5 to 0.5, and above 0.5."""
    return list(by_slope(sweeps()[sweep], claims.HUGE_VANILLA).values())


def slope(epoch: int) -> np.ndarray:
    """Returns the slopes [seed] of layer 1 of the forty HUGE-VANILLANETs after an epoch."""
    values: np.ndarray = cell("mnist-forty", "huge-vanilla").slope.isel(slope_layer=0).sel(epoch=epoch).values
    return values


def kept_by_dropout(basin: int) -> float:
    """Returns mean |rho| of layer 1 with dropout / without dropout, averaged over the seeds of a group of
    `basins`."""
    dropped, plain = (
        cell("mnist", name).mean_correlation_minibatch.sel(layer=1).values
        for name in ("huge-drop", "huge-vanilla")
    )
    return float((dropped / plain)[basins("mnist")[basin]].mean())


def merged(variant: str) -> tuple[float, float]:
    """Returns the share of units left after merging at |rho| >= 0.6, and the error then, both in %."""
    cut = measurements()["merging"].sel(threshold=0.6, variant=variant)
    return 100 * float(merging.shares(cut).mean("seed")), 100 * float(cut.error.mean("seed"))


def diagnostics(implementation: str, **of: str | int) -> float:
    """Returns a ratio of times: an implementation's / decorr's, or training with reports / training without
    reports."""
    rows = json.loads((BENCHMARK.parent / "diagnostics.json").read_text())["diagnostics"]
    wanted = {"implementation": implementation} | of
    (row,) = (row for row in rows if {name: row.get(name) for name in wanted} == wanted)
    return float(row["times_first"])


compared = functools.cache(stored)


def against(
    method: str,
    other: str,
    images: bool | None = None,
    without: Sequence[str] = (),
    title: str = "",
    measure: str = "test_error",
    rows: int = 1000,
) -> np.ndarray:
    """Returns by how many percent a method's error is above another method's: the mean over the comparison's
    data sets, and the ends of its 95% interval.

    Args:
      method: the method.
      other: the other method.
      images: True for data sets of images, False for tables, None for both.
      without: data sets to leave out.
      title: the kind of settings, as in `Part.title`.
      measure: the kind of error.
      rows: the number of rows in a sample.
    """
    networks = analysis.of(compared(), title, rows)
    networks = {name: networks[name] for name in networks if name not in without}
    if images is not None:
        networks = analysis.kind(networks, images)
    return 100 * np.expm1(np.array(analysis.effect(networks, method, other, [measure]).interval))


def another_set(method: str, other: str) -> np.ndarray:
    """Returns by how many percent a method's error is above another method's on another data set like the
    comparison's: the mean, and the ends of the range that holds 95% of such sets."""
    effect = analysis.effect(analysis.of(compared()), method, other)
    return 100 * np.expm1(np.array(effect.another_set()))


def sets_with(low: float, high: float = 1.0) -> list[str]:
    """Returns the comparison's data sets on which the plain network's mean error is in [low, high)."""
    networks = analysis.of(compared())
    plain = analysis.errors(networks, "vanilla").mean(axis=1)
    return [name for name, mean in zip(networks, plain, strict=True) if low <= mean < high]


def corrected_p(method: str) -> float:
    """Returns the p value of a method's difference from vanilla, with Holm's correction for all methods."""
    networks = analysis.of(compared())
    others = sorted({row["method"] for rows in networks.values() for row in rows} - {"vanilla"})
    p = holm(np.array([analysis.effect(networks, each, "vanilla").p for each in others]))
    return float(p[others.index(method)])


def at_an_end(method: str, rows: int) -> int:
    """Returns on how many data sets a method's chosen learning rate lies at an end of its range."""
    settings = analysis.by_set(compared(), rows=rows).values()
    (edge,) = (each for each in described.edges(list(settings)) if each.method == method)
    return edge.at["learning_rate"]


def compared_units(method: str, layer: int) -> float:
    """Returns a method's effective units in a layer, averaged over seeds and over the comparison's data
    sets."""
    return float(analysis.errors(analysis.of(compared()), method, [f"effective_units_{layer}"]).mean())


def probed(method: str) -> np.ndarray:
    """Returns `against` for vanilla and the error of `PROBE`."""
    return against(method, "vanilla", title="features", measure=PROBE)


def each_set(method: str, other: str, title: str = "", measure: str = "test_error") -> dict[str, float]:
    """Returns by how many percent a method's error is above another method's, on each data set of the
    comparison. `title` and `measure` are as in `against`."""
    networks = analysis.having(analysis.of(compared(), title), method, other)
    effect = analysis.effect(networks, method, other, [measure])
    return dict(zip(networks, (100 * np.expm1(effect.sets)).tolist(), strict=True))


def rung(
    pool: str, title: str, plain: str = "vanilla", method: str = "corr", failed: bool = True
) -> Interval:
    """Returns by how many points a method's error is below that of `plain` on a rung of the ladder. failed:
    whether seeds with a failed network are included."""
    return ladder.gain(ladder.of(compared())[pool, title], plain, method, failed)


def gains(pool: str, plain: str = "vanilla", method: str = "corr") -> list[float]:
    """Returns the mean gain of `rung`, in points, on each rung after the released network."""
    return [rung(pool, step, plain, method).estimate for step in STEPS]


def rung_failed(pool: str, title: str, method: str) -> int:
    """Returns how many networks of a method failed on a rung of the ladder."""
    return results.failed(results.of(ladder.of(compared())[pool, title], method))


def rate_gains(pool: str, low: float, high: float) -> list[float]:
    """Returns by how many points the penalty lowers the tuning error of the ladder's first rung at each
    learning rate from `low` to `high`, over the seeds with which neither network fails."""
    return [at.errors[0] - at.errors[1] for at in ladder.by_rate(compared())[pool] if low <= at.rate <= high]


def statement(name: str, pool: str) -> str:
    """Returns the outcome of one of the ladder's statements (L1, S1, S2 and S3) on a data set."""
    (found,) = (
        each for each in ladder.statements(ladder.of(compared())) if (each.name, each.pool) == (name, pool)
    )
    return found.outcome


@functools.cache
def judged() -> dict[str, analysis.Judged]:
    """Returns the hypotheses H1 to H5 with the results of their tests, by name."""
    return {each.hypothesis.name: each for each in analysis.judge(analysis.of(compared()))}


def _setting(name: str) -> results.Stored:
    """Returns the comparison's setting of a name."""
    (found,) = (each for each in compared() if each.name == name)
    return found


def tested(setting: str, method: str, measure: str = "test_error") -> float:
    """Returns a method's mean test error in a setting of the comparison, or another measure, in %. For a
    method without labels, the error is the probe's."""
    return float(ladder.errors(_setting(setting).reported, method, measure).mean())


def chosen(setting: str, method: str) -> Numbers:
    """Returns the hyperparameters that tuning chose for a method in a setting of the ladder."""
    (part,) = (each for each in planned.ladder() if f"{each.pool}-{each.rows}-{each.title}" == setting)
    points = search(METHODS[method], part.plain, part.budget.points)
    return points[int(results.of(_setting(setting).reported, method)[0]["point"])]


def embedded_units(setting: str, method: str) -> float:
    """Returns the mean effective units of the embeddings that a method learns without labels."""
    return tested(setting, method, "embedded_effective_units") / 100


def failed(method: str, title: str = "", rows: int = 1000) -> int:
    """Returns how many of a method's reported networks failed in one kind of settings of the comparison."""
    networks = analysis.of(compared(), title, rows)
    return sum(results.failed(results.of(reported, method)) for reported in networks.values())


@functools.cache
def penalty() -> dict[str, float]:
    """Returns, for activations of shape (256, 8192), the time and memory of P with its gradient, and
    autodiff's memory and slowdown."""
    cases = json.loads(BENCHMARK.read_text())["penalty"]
    ours, autodiff, *_ = (case for case in cases if (case["m"], case["d"]) == (256, 8192))
    return {
        "ms": float(np.median(ours["milliseconds"])),
        "MiB": ours["mebibytes"],
        "autodiff MiB": autodiff["mebibytes"],
        "times": autodiff["times_slower"],
    }
