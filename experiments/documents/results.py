"""The committed results, under the names that sentences.txt uses. Errors are in [0, 1]; a point is 0.01."""

import functools
import json
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from decorr.chance import independent_penalty
from experiments.comparison import analysis, ladder, results
from experiments.comparison.planned import STEPS
from experiments.comparison.results import stored
from experiments.grid.networks import SIZES, Family, Network, Recipe, Size
from experiments.grid.protocols import CORR_01, DROP, PAPER, RELEASED, VANILLA
from experiments.paper import ablation, agreement, claims, published, report
from experiments.paper.beyond import STUDIES, merging
from experiments.paper.claims import BELOW_HUGE
from experiments.paper.slopes import FLAT, by_slope
from experiments.paper.study import MARGIN
from experiments.statistics.intervals import Interval
from experiments.statistics.verdicts import Verdict
from experiments.store import gathered

__all__ = ["BELOW_HUGE", "FLAT", "MARGIN", "independent_penalty"]  # used in sentences.txt only

BENCHMARK = Path(__file__).parents[1] / "benchmark" / "reference" / "benchmark.json"

sweeps = functools.cache(report.references)
measurements = functools.cache(report.measurements_of)
weight, initial_slope = RELEASED.penalty_weight, RELEASED.negative_slope
momentum = PAPER.optimisation.momentum


def cell(sweep: str, network: str) -> xr.Dataset:
    """Returns the results of one network of a sweep, for all seeds."""
    return gathered.cell_of(sweeps()[sweep], Network.parse(network))


def error(sweep: str, network: str, epoch: int = -1) -> float:
    """The validation error after an epoch, averaged over seeds. Epochs count from 1; -1 is the last."""
    return float(claims.error(sweeps()[sweep], Network.parse(network), epoch).mean())


def error_over_sizes(sweep: str, variant: str, epoch: int) -> float:
    """The mean of `error` over the network sizes."""
    return float(np.mean([error(sweep, f"{size}-{variant}", epoch) for size in SIZES]))


def cost(sweep: str, network: str) -> float:
    """A network's error minus vanilla's after the last epoch, in points."""
    return 100 * (error(sweep, network) - error(sweep, f"{network.split('-')[0]}-vanilla"))


def diverged(sweep: str, networks: str = "", by: int | None = None) -> int:
    """How many networks diverged by an epoch (None: the last). The name of a network or of a variant selects
    the networks; "" means all."""
    counts = gathered.diverged(sweeps()[sweep], by)
    return sum(
        count
        for network, (count, _) in counts.items()
        if networks in ("", network.name, network.variant.name)
    )


def widths(size: Size, family: Family = "mlp") -> tuple[int, ...]:
    """The number of units in each hidden layer of the released networks of a size."""
    return Recipe(family=family).architecture(size).widths


def units(network: str) -> float:
    """The effective units of layer 1 of a network trained on MNIST, averaged over seeds."""
    return float(gathered.effective_units(cell("mnist", network)).isel(epoch=-1, layer=0).mean())


@functools.cache
def verdicts() -> dict[str, Verdict]:
    """The verdicts of the studies and of the comparison, by claim."""
    results, main = {**sweeps(), **measurements()}, sweeps()["mnist"]
    studies = [verdict for study in STUDIES for verdict in study.verdicts(results, main)]
    return {verdict.claim: verdict for verdict in (*studies, *analysis.c10(stored()))}


def _key(word: Hashable) -> Hashable:
    """Returns the network, if a word is the name of a network; else the word."""
    is_network = isinstance(word, str) and word.split("-")[0] in SIZES and "-" in word
    return Network.parse(str(word)) if is_network else word


def points(claim: str, *words: Hashable) -> np.ndarray:
    """A comparison's mean difference and the ends of its 95% interval, in points. The words are the
    comparison's key."""
    key = tuple(map(_key, words))
    return 100 * np.array(verdicts()[claim].comparison(key if len(key) > 1 else key[0]).interval)


def bound(claim: str, *words: Hashable) -> float:
    """The largest absolute difference, in points, that a comparison's 95% interval allows."""
    return float(abs(points(claim, *words)[1:]).max())


def decided(claim: str, outcome: str = "for") -> list[str]:
    """The names of a claim's comparisons that have the given outcome."""
    return [comparison.what for comparison in verdicts()[claim].comparisons if comparison.outcome == outcome]


def thirty_new_seeds() -> list[str]:
    """C5's outcomes with those thirty of the forty seeds that the main sweep does not have."""
    unseen = claims.c5(sweeps()["mnist-forty"].isel(seed=slice(10, None)))
    return [comparison.outcome for comparison in unseen.comparisons]


def published_growth() -> dict[Size, float]:
    """The error's growth in Figure 3 without the penalty minus its growth with the penalty, in points, by
    size."""
    plain, penalised = (published.FIGURE_3[variant] for variant in (VANILLA, CORR_01))
    return {size: 100 * (plain[size] - penalised[size]) for size in plain}


@functools.cache
def numbers() -> list[agreement.Published]:
    """Every published number, with our range for it."""
    return agreement.compare(sweeps()["mnist"])


def outside() -> list[tuple[float, float]]:
    """The published numbers that lie outside of our ranges, each with our mean."""
    return [(number.value, number.interval.estimate) for number in numbers() if not number.inside]


def distances(taken_back: bool = False) -> list[float]:
    """The distance from Figure 4 after each step of the ablation; if taken_back, that of the code without
    each step."""
    steps = ablation.without(sweeps()) if taken_back else ablation.steps(sweeps())
    return [step.distance for step in steps]


def flat_figure() -> tuple[float, float]:
    """The median of Figure 4's bars, and the bars' mean distance from it."""
    bars = np.array(list(published.FIGURE_4_BY_NETWORK.values()))
    return float(np.median(bars)), float(abs(bars - np.median(bars)).mean())


def basins(sweep: str) -> list[np.ndarray]:
    """Three groups of HUGE-VANILLANET's seeds, as masks [seed]: slope below -0.5, near 0, above 0.5."""
    return list(by_slope(sweeps()[sweep], claims.HUGE_VANILLA).values())


def slope(epoch: int) -> np.ndarray:
    """The slopes [seed] of layer 1 of the forty HUGE-VANILLANETs after an epoch."""
    values: np.ndarray = cell("mnist-forty", "huge-vanilla").slope.isel(slope_layer=0).sel(epoch=epoch).values
    return values


def kept_by_dropout(basin: int) -> float:
    """Mean |rho| of layer 1 with dropout / mean |rho| without dropout, averaged over a basin's seeds. Basin
    -1 stands for the published ratio."""
    if basin == -1:
        return published.FIGURE_1_MEAN[DROP] / published.FIGURE_1_MEAN[VANILLA]
    dropped, plain = (
        cell("mnist", name).mean_correlation_minibatch.sel(layer=1).values
        for name in ("huge-drop", "huge-vanilla")
    )
    return float((dropped / plain)[basins("mnist")[basin]].mean())


def merged(variant: str) -> tuple[float, float]:
    """The share of units kept at |rho| >= 0.6, and the error after merging, both in %."""
    cut = measurements()["merging"].sel(threshold=0.6, variant=variant)
    return 100 * float(merging.shares(cut).mean("seed")), 100 * float(cut.error.mean("seed"))


def diagnostics(implementation: str, **of: str | int) -> float:
    """An implementation's time divided by decorr's, or the time of training with reports divided by the time
    without."""
    rows = json.loads((BENCHMARK.parent / "diagnostics.json").read_text())["diagnostics"]
    wanted = {"implementation": implementation} | of
    (row,) = (row for row in rows if {name: row.get(name) for name in wanted} == wanted)
    return float(row["times_first"])


compared = functools.cache(stored)


def against(method: str, other: str, images: bool | None = None, without: Sequence[str] = ()) -> np.ndarray:
    """How much a method's error differs from another's, in % of the other's. The numbers are the mean over
    the comparison's data sets, and the ends of the mean's 95% interval. images: True for images only, False
    for tables only, None for both. without: data sets to leave out."""
    networks = {name: rows for name, rows in analysis.of(compared()).items() if name not in without}
    if images is not None:
        networks = analysis.kind(networks, images)
    return 100 * np.expm1(np.array(analysis.effect(networks, method, other).interval))


def compared_units(method: str, layer: int) -> float:
    """The effective units of a layer, averaged over seeds and over the comparison's data sets."""
    return float(analysis.errors(analysis.of(compared()), method, [f"effective_units_{layer}"]).mean())


def each_set(method: str, other: str) -> dict[str, float]:
    """A method's error minus another method's, in % of the other's, on each data set of the comparison."""
    networks = analysis.having(analysis.of(compared()), method, other)
    effect = analysis.effect(networks, method, other)
    return dict(zip(networks, (100 * np.expm1(effect.sets)).tolist(), strict=True))


def rung(
    pool: str, title: str, plain: str = "vanilla", method: str = "corr", failed: bool = True
) -> Interval:
    """The points that a method gains on a rung. failed: whether seeds with a failed network are included."""
    networks = ladder.of(compared())[pool, title]
    return (ladder.gain if failed else ladder.gain_where_none_failed)(networks, plain, method)


def gains(pool: str, plain: str = "vanilla", method: str = "corr") -> list[float]:
    """The mean gain in points on each rung after the released network."""
    return [rung(pool, step, plain, method).estimate for step in STEPS]


def rung_failed(pool: str, title: str, method: str) -> int:
    """How many networks of a method failed on a rung."""
    return results.failed(results.of(ladder.of(compared())[pool, title], method))


def statement(name: str, pool: str) -> str:
    """The outcome of the ladder's statement L1, S1, S2 or S3 on a data set."""
    (found,) = (
        each for each in ladder.statements(ladder.of(compared())) if (each.name, each.pool) == (name, pool)
    )
    return found.outcome


@functools.cache
def judged() -> dict[str, analysis.Judged]:
    """The hypotheses H1 to H5 after their tests, by name."""
    return {each.hypothesis.name: each for each in analysis.judge(analysis.of(compared()))}


def hypothesis(name: str) -> analysis.Judged:
    """One of the hypotheses H1 to H5, after its test."""
    return judged()[name]


def tested(setting: str, method: str) -> float:
    """A method's mean test error in a setting of the comparison, in %; without labels, the probe's error."""
    (reported,) = (each.reported for each in compared() if each.name == setting)
    return float(ladder.errors(reported, method).mean())


def embedded_units(setting: str, method: str) -> float:
    """The mean effective units of the embeddings that a method without labels learns."""
    (reported,) = (each.reported for each in compared() if each.name == setting)
    return float(ladder.errors(reported, method, "embedded_effective_units").mean()) / 100


def failed(method: str) -> int:
    """How many of a method's reported networks failed in the comparison, with samples of 1,000 rows."""
    networks = analysis.of(compared())
    return sum(results.failed(results.of(rows, method)) for rows in networks.values())


@functools.cache
def penalty() -> dict[str, float]:
    """The time and memory of P and its gradient for activations (256, 8192), and autodiff's memory and
    slowdown."""
    cases = json.loads(BENCHMARK.read_text())["penalty"]
    ours, autodiff, *_ = (case for case in cases if (case["m"], case["d"]) == (256, 8192))
    return {
        "ms": float(np.median(ours["milliseconds"])),
        "MiB": ours["mebibytes"],
        "autodiff MiB": autodiff["mebibytes"],
        "times": autodiff["times_slower"],
    }
