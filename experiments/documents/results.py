"""The committed results, under the names in sentences.txt. Errors are in [0, 1], and a point is 0.01."""

import functools
import json
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from decorr.chance import independent_penalty
from experiments.comparison import analysis, ladder
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

__all__ = ["BELOW_HUGE", "FLAT", "MARGIN", "independent_penalty"]  # which only sentences.txt names

BENCHMARK = Path(__file__).parents[1] / "benchmark" / "reference" / "benchmark.json"

sweeps = functools.cache(report.references)
measurements = functools.cache(report.measurements_of)
weight, initial_slope = RELEASED.penalty_weight, RELEASED.negative_slope
momentum = PAPER.optimisation.momentum


def cell(sweep: str, network: str) -> xr.Dataset:
    """A network of a sweep."""
    return gathered.cell_of(sweeps()[sweep], Network.parse(network))


def error(sweep: str, network: str, epoch: int = -1) -> float:
    """The mean validation error after an epoch, from 1; -1 is the last."""
    return float(claims.error(sweeps()[sweep], Network.parse(network), epoch).mean())


def error_over_sizes(sweep: str, variant: str, epoch: int) -> float:
    """The mean of `error` over the sizes."""
    return float(np.mean([error(sweep, f"{size}-{variant}", epoch) for size in SIZES]))


def cost(sweep: str, network: str) -> float:
    """How much larger the error is than vanilla's after the last epoch, in points."""
    return 100 * (error(sweep, network) - error(sweep, f"{network.split('-')[0]}-vanilla"))


def diverged(sweep: str, networks: str = "", by: int | None = None) -> int:
    """How many networks diverged by an epoch: those of a name, those of a variant, or all."""
    counts = gathered.diverged(sweeps()[sweep], by)
    return sum(
        count
        for network, (count, _) in counts.items()
        if networks in ("", network.name, network.variant.name)
    )


def widths(size: Size, family: Family = "mlp") -> tuple[int, ...]:
    """Units of each layer."""
    return Recipe(family=family).architecture(size).widths


def units(network: str) -> float:
    """The effective units of layer 1 of a network of MNIST after training."""
    return float(gathered.effective_units(cell("mnist", network)).isel(epoch=-1, layer=0).mean())


@functools.cache
def verdicts() -> dict[str, Verdict]:
    """The verdicts of the studies and of the comparison, by claim."""
    results, main = {**sweeps(), **measurements()}, sweeps()["mnist"]
    studies = [verdict for study in STUDIES for verdict in study.verdicts(results, main)]
    return {verdict.claim: verdict for verdict in (*studies, *analysis.c10(stored()))}


def _key(word: Hashable) -> Hashable:
    """The network with a name."""
    is_network = isinstance(word, str) and word.split("-")[0] in SIZES and "-" in word
    return Network.parse(str(word)) if is_network else word


def points(claim: str, *words: Hashable) -> np.ndarray:
    """The difference of the comparison with a key, in points: mean, low and high end of its 95% interval."""
    key = tuple(map(_key, words))
    return 100 * np.array(verdicts()[claim].comparison(key if len(key) > 1 else key[0]).interval)


def bound(claim: str, *words: Hashable) -> float:
    """How large the difference could still be, in points."""
    return float(abs(points(claim, *words)[1:]).max())


def decided(claim: str, outcome: str = "for") -> list[str]:
    """The comparisons of a claim with an outcome, in words."""
    return [comparison.what for comparison in verdicts()[claim].comparisons if comparison.outcome == outcome]


def thirty_new_seeds() -> list[str]:
    """C5's outcomes by the seeds of the forty that are not among the ten."""
    unseen = claims.c5(sweeps()["mnist-forty"].isel(seed=slice(10, None)))
    return [comparison.outcome for comparison in unseen.comparisons]


def published_growth() -> dict[Size, float]:
    """How much larger the growth of Figure 3's error is without the penalty than with it, in points, by
    size."""
    plain, penalised = (published.FIGURE_3[variant] for variant in (VANILLA, CORR_01))
    return {size: 100 * (plain[size] - penalised[size]) for size in plain}


@functools.cache
def numbers() -> list[agreement.Published]:
    """Every published number, with ours."""
    return agreement.compare(sweeps()["mnist"])


def outside() -> list[tuple[float, float]]:
    """The published numbers that lie outside of our range, with our means."""
    return [(number.value, number.interval.estimate) for number in numbers() if not number.inside]


def distances(taken_back: bool = False) -> list[float]:
    """Distances from Figure 4, for the steps of the ablation, or for the code without one step."""
    steps = ablation.without(sweeps()) if taken_back else ablation.steps(sweeps())
    return [step.distance for step in steps]


def flat_figure() -> tuple[float, float]:
    """The median of Figure 4's bars, and the distance from them of a figure with only this median."""
    bars = np.array(list(published.FIGURE_4_BY_NETWORK.values()))
    return float(np.median(bars)), float(abs(bars - np.median(bars)).mean())


def basins(sweep: str) -> list[np.ndarray]:
    """The seeds of HUGE-VANILLANET by slope: below, near 0, above."""
    return list(by_slope(sweeps()[sweep], claims.HUGE_VANILLA).values())


def slope(epoch: int) -> np.ndarray:
    """The slopes of layer 1 of the forty HUGE-VANILLANETs after an epoch, [seed]."""
    values: np.ndarray = cell("mnist-forty", "huge-vanilla").slope.isel(slope_layer=0).sel(epoch=epoch).values
    return values


def kept_by_dropout(basin: int) -> float:
    """The share of layer 1's mean |rho| that dropout leaves, over the seeds of a basin; -1: as published."""
    if basin == -1:
        return published.FIGURE_1_MEAN[DROP] / published.FIGURE_1_MEAN[VANILLA]
    dropped, plain = (
        cell("mnist", name).mean_correlation_minibatch.sel(layer=1).values
        for name in ("huge-drop", "huge-vanilla")
    )
    return float((dropped / plain)[basins("mnist")[basin]].mean())


def merged(variant: str) -> tuple[float, float]:
    """The share of units kept at |rho| >= 0.6, and the error, in %."""
    cut = measurements()["merging"].sel(threshold=0.6, variant=variant)
    return 100 * float(merging.shares(cut).mean("seed")), 100 * float(cut.error.mean("seed"))


def diagnostics(implementation: str, **of: str | int) -> float:
    """How many times as long an implementation takes as decorr, or as training without reports."""
    rows = json.loads((BENCHMARK.parent / "diagnostics.json").read_text())["diagnostics"]
    wanted = {"implementation": implementation} | of
    (row,) = (row for row in rows if {name: row.get(name) for name in wanted} == wanted)
    return float(row["times_first"])


compared = functools.cache(stored)


def against(method: str, other: str, images: bool | None = None, without: Sequence[str] = ()) -> np.ndarray:
    """By how many % a method errs more than another over the comparison's data sets: mean, low and high end
    of its 95% interval. images: only these sets, or only tables. without: sets to leave out."""
    networks = {name: rows for name, rows in analysis.of(compared()).items() if name not in without}
    if images is not None:
        networks = analysis.kind(networks, images)
    return 100 * np.expm1(np.array(analysis.effect(networks, method, other).interval))


def compared_units(method: str, layer: int) -> float:
    """The mean effective units of a layer over the comparison's data sets."""
    return float(analysis.errors(analysis.of(compared()), method, [f"effective_units_{layer}"]).mean())


def each_set(method: str, other: str) -> dict[str, float]:
    """By how many % a method errs more than another on each data set of the comparison."""
    networks = analysis.having(analysis.of(compared()), method, other)
    effect = analysis.effect(networks, method, other)
    return dict(zip(networks, (100 * np.expm1(effect.sets)).tolist(), strict=True))


def rung(
    pool: str, title: str, plain: str = "vanilla", method: str = "corr", failed: bool = True
) -> Interval:
    """The points that a method gains on a rung; failed: also over seeds of which a network failed."""
    networks = ladder.of(compared())[pool, title]
    return (ladder.gain if failed else ladder.gain_where_none_failed)(networks, plain, method)


def gains(pool: str, plain: str = "vanilla", method: str = "corr") -> list[float]:
    """The mean gain in points on each step after the released network."""
    return [rung(pool, step, plain, method).estimate for step in STEPS]


def rung_failed(pool: str, title: str, method: str) -> int:
    """How many networks of a method failed on a rung."""
    return int(ladder.errors(ladder.of(compared())[pool, title], method, "failed").sum() / 100)


def statement(name: str, pool: str) -> str:
    """The outcome of L1 or of S1 to S3."""
    (found,) = (
        each for each in ladder.statements(ladder.of(compared())) if (each.name, each.pool) == (name, pool)
    )
    return found.outcome


@functools.cache
def judged() -> dict[str, analysis.Judged]:
    """H1 to H5, judged, by name."""
    return {each.hypothesis.name: each for each in analysis.judge(analysis.of(compared()))}


def hypothesis(name: str) -> analysis.Judged:
    """One of H1 to H5, judged."""
    return judged()[name]


def tested(setting: str, method: str) -> float:
    """The mean test error of a method in a setting of the comparison, in %; without labels the probe's."""
    (reported,) = (each.reported for each in compared() if each.name == setting)
    return float(ladder.errors(reported, method).mean())


def failed(method: str) -> int:
    """How many of the comparison's reported networks of a method failed, with 1,000 rows."""
    networks = analysis.of(compared())
    return int(sum(row["failed"] for rows in networks.values() for row in rows if row["method"] == method))


@functools.cache
def penalty() -> dict[str, float]:
    """Milliseconds and MiB of P and its gradient at (256, 8192); and autodiff's MiB and slowdown."""
    cases = json.loads(BENCHMARK.read_text())["penalty"]
    ours, autodiff, *_ = (case for case in cases if (case["m"], case["d"]) == (256, 8192))
    return {
        "ms": float(np.median(ours["milliseconds"])),
        "MiB": ours["mebibytes"],
        "autodiff MiB": autodiff["mebibytes"],
        "times": autodiff["times_slower"],
    }
