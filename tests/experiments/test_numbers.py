"""The numbers in the pages' sentences are those of committed results; of the tables see what draws them."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from decorr import independent_penalty
from experiments.comparison import analysis, page, results
from experiments.comparison.methods import METHODS
from experiments.grid.networks import SIZES, Network, Recipe, Variant
from experiments.grid.protocols import BY_WEIGHT, CORR_01, CORR_10, DROP, PAPER, RELEASED, VANILLA
from experiments.paper import ablation, agreement, beyond, claims, merging, published, report, slopes
from experiments.statistics import intervals
from experiments.store.gathered import cell_of, diverged, effective_units

ROOT = Path(__file__).parents[2]
HUGE = [Network("huge", variant) for variant in BY_WEIGHT]  # without the penalty, with 0.1, with 1.0
SETTINGS = {"0.1", "1.0", "0.002", "0.02", "0.25", "95%"}
"""Weights, levels and a correlation, which sentences name and nothing measures."""


def sentences(name):
    """A page without code, tables and the targets of links."""
    text = (ROOT / name).read_text()
    for other in (r"```.*?```", r"^    .*?$", r"^\|.*?$", r"\]\([^)]*\)"):
        text = re.sub(other, "", text, flags=re.DOTALL | re.MULTILINE)
    return " ".join(text.split())


@functools.cache
def references():
    return report.references(report.REFERENCE)


def penalties():
    """Time and memory of P and its gradient, and how much longer and larger autodiff is."""
    rows = json.loads((ROOT / "experiments/benchmark/reference/benchmark.json").read_text())["penalty"]
    ours, plain, *_ = (row for row in rows if (row["m"], row["d"]) == (256, 8192))
    return np.median(ours["milliseconds"]), ours["mebibytes"], plain["times_slower"], plain["mebibytes"]


def errors_of(setting, method):
    """[seed] in %."""
    return 100 * results.one(results.load(page.REFERENCE / f"{setting}.nc"), method).test_error.values


@functools.cache
def compared():
    """The table of each setting of the comparison, by name."""
    return {results.setting_of(each).name: analysis.rows(each) for each in page.load()}


def on_diverged(sweep, variant):
    """How many networks of a variant diverged."""
    return sum(count for network, (count, _) in diverged(sweep).items() if network.variant == variant)


def above_vanilla(sweep, size, variant):
    """How much more a variant errs than vanilla after the last epoch, mean over seeds, in points."""
    errors = (claims.error(sweep, Network(size, each), -1).mean() for each in (variant, VANILLA))
    return 100 * np.subtract(*errors)


def front(sweeps):
    mnist, decay = sweeps["mnist"], sweeps["mnist-decay"]
    (plain, _, heavy), (last, _, worst) = (
        [100 * claims.error(mnist, each, epoch).mean() for each in HUGE] for epoch in (2, -1)
    )
    yield "after two epochs the largest errs on {}% with the weight 1.0 and {}% without", heavy, plain
    yield "the largest errs on {}% against {}%", worst, last
    constant, shrinking = (on_diverged(sweep, CORR_10) for sweep in (mnist, decay))
    yield "{} of 50 networks with the weight 1.0 diverged", constant
    cost = {size: above_vanilla(decay, size, CORR_10) for size in SIZES}
    yield "with a rate that shrinks {} of 50 did", shrinking
    yield "the cost is {} points in the largest network", cost["huge"]
    assert min(cost[size] for size in claims.BELOW_HUGE) > cost["huge"]
    errors = [errors_of("mnist-500", name).mean() for name in ("corr", "vanilla", "dropout")]
    yield "networks err on {}% with it, {}% without and {}% with dropout", *errors
    rows = [row for table in compared().values() for row in table if row.method == "corr"]
    assert sum(row.diverged for row in rows) == 2 and len(rows) == 9
    worth = [effective_units(cell_of(mnist, each)).isel(epoch=-1).mean("seed")[0] for each in HUGE]
    yield "360 units, ends with {} without the penalty and {} with the weight 1.0", worth[0], worth[2]
    yield "The paper's weights 0.1 and 1.0 act as {} and {}", *map(RELEASED.penalty_weight, (0.1, 1.0))
    judged = agreement.compare(mnist)
    yield "Of {} published numbers {} lie where", len(judged), sum(each.inside for each in judged)
    ours, memory, times, more = penalties()
    yield "take {} ms and {} MiB on two cores, {} times less time than autodiff", ours, memory, times
    yield "the `d x d` formula, which takes {} MiB", more


def experiments(sweeps):
    tables = compared().values()
    rows = {name: [row for table in tables for row in table if row.method == name] for name in METHODS}

    def decided(name):
        outcomes = [row.to_vanilla.outcome for row in rows[name]]
        return outcomes.count("for"), outcomes.count("against")

    yield (
        "batch normalisation is decidedly better than vanilla in {} (and decidedly worse in {}), "
        "dropout in {} ({}), DeCov in {} ({}), the penalty in {} ({}), whitening in {} ({}), "
        "the penalty with dropout in {} ({}), weight decay and VCReg in none",
        *(
            count
            for name in ("batchnorm", "dropout", "decov", "corr", "whiten", "corr-dropout")
            for count in decided(name)
        ),
    )
    assert decided("weight-decay")[0] == decided("vcreg")[0] == 0
    count = {name: sum(row.diverged for row in rows[name]) for name in METHODS}
    yield (
        "{} of vanilla, {} of dropout, {} of weight decay, {} of the penalty, {} of DeCov, {} of VCReg, "
        "{} of the penalty with dropout, and none of batch normalisation and whitening",
        *(count[name] for name in METHODS if name not in ("batchnorm", "whiten")),
    )
    assert count["batchnorm"] == count["whiten"] == 0
    trained = [(results.setting_of(each).steps, row) for each in page.load() for row in analysis.rows(each)]
    assert sum(row.step == steps for steps, row in trained) == 6
    yield "In six of the {} trainings", len(trained)
    assert [row.best_other for row in rows["corr"]].count("corr-dropout") == 4
    (few,) = (row for row in compared()["fashion_mnist-500"] if row.method == "corr")
    assert few.diverged == 1
    yield "nine err on {}% and one diverged", 100 * few.error_without
    yield "On MNIST it errs on {}%, and only DeCov", errors_of("mnist-50000", "vanilla").mean()
    plain, *_, both = compared()["fashion_mnist-50000"]
    assert plain.diverged == 1
    yield (
        "others err on {}%, with dropout and the penalty together on {}%",
        100 * plain.error_without,
        100 * both.error.estimate,
    )
    ours, memory, times, more = penalties()
    yield "take {} ms and {} MiB besides themselves", ours, memory
    yield "formula takes {} times as long and {} MiB", times, more
    narrow, wide = (Recipe(family="conv").architecture(size).widths for size in ("tiny", "huge"))
    yield "{}, {} and {} channels for `tiny`, {}, {} and {} for `huge`", *narrow, *wide


def paper(sweeps):
    mnist, cosine, fashion = (sweeps[name] for name in ("mnist", "mnist-cosine", "fashion_mnist"))
    early, last = ([claims.error(mnist, each, epoch).mean() for each in HUGE] for epoch in (2, -1))
    yield "error is {} without it, {} at weight 0.1 and {} at 1.0", *early
    yield "{}, {} and {} after 100 epochs", *last

    yield "100 epochs are 2,500 steps, as many as {} epochs of MNIST", 2500 / (50_000 / 50)
    yield "the weights 0.1 and 1.0 act as {} and {};", *map(RELEASED.penalty_weight, (0.1, 1.0))
    yield "although the text says {};", PAPER.optimisation.momentum
    epochs = [cell_of(mnist, Network(size, CORR_10)).diverged_epoch for size in ("small", "medium", "large")]
    assert sum(int(((each > 0) & (each <= 60)).sum()) for each in epochs) == 3
    counts = [int((each > 0).sum()) for each in epochs]
    yield "{} of 10 small, {} of 10 medium and {} of 10 large networks diverged, all but three", *counts
    scans = diverged(sweeps["mnist-weights"]) | diverged(sweeps["mnist-rates"])
    yield ("At the weights 3 and 10, and at dropout rate 0.7, all three huge networks diverged",)
    assert {scans[Network.parse(f"huge-{name}")] for name in ("corr-3", "corr-10", "drop-0.7")} == {(3, 3)}
    plain, *penalised = (on_diverged(fashion, variant) for variant in BY_WEIGHT)
    yield "{} of 50 vanilla networks diverged, and {} of 100 with the penalty", plain, sum(penalised)

    with_dropout, without = (
        cell_of(mnist, Network("huge", variant)).mean_correlation_minibatch.sel(layer=1).values
        for variant in (DROP, VANILLA)
    )
    below, near, above = slopes.by_slope(mnist, HUGE[0]).values()
    ratios = with_dropout / without
    assert (below.sum(), near.sum(), above.sum()) == (2, 1, 7)
    as_published = published.FIGURE_1_MEAN[DROP] / published.FIGURE_1_MEAN[VANILLA]
    yield "layer 1 to {} of it, as published ({})", ratios[above].mean(), as_published
    yield "In one it is near 0 ({}). The predicted {} is not seen", ratios[near].mean(), 0.7**2
    yield "more often its slope is below {}", -slopes.FLAT

    outside = [(each.value, each.interval.estimate) for each in agreement.compare(mnist) if not each.inside]
    assert len(outside) == 3
    yield "|rho| from 0.5: {}, ours {}), one of Figure 2 (weight 1.0, layer 3", *outside[0]
    yield (
        "|rho| below 0.1: {}, ours {}) and one of Figure 4 (tiny, weight 1.0: {}, ours {})",
        *outside[1],
        *outside[2],
    )

    with_momentum = sweeps["ablation-initialisation"]
    plain = [claims.error(with_momentum, Network(size, VANILLA), 2).mean() for size in SIZES]
    yield "without a penalty rises from about {} to the published level", np.mean(plain)
    furthest = max(step.distance for step in ablation.steps(sweeps))
    yield "the path's rise to {} is the undivided penalty's", furthest
    bars = np.array(list(published.FIGURE_4_BY_NETWORK.values()))
    flat = np.median(bars)
    yield "all bars at their median of {}, has the distance {}", flat, abs(bars - flat).mean()
    *lost, spared = (step.distance for step in ablation.without(sweeps))
    assert min(lost) > abs(bars - flat).mean() > spared

    forty = sweeps["mnist-forty"]
    assert not diverged(forty)
    grows = {each.what.split(":")[0]: each for each in beyond.c5_forty(mnist, forty).comparisons}
    assert [size for size, each in grows.items() if each.outcome == "against"] == ["medium", "small"]
    yield (
        "grows by {} points more with the weight 0.1 than without a penalty, to the small one by {}, both",
        *(-100 * grows[size].interval.estimate for size in ("medium", "small")),
    )
    undecided = [grows[size] for size in ("large", "tiny")]
    yield "to large and tiny by {} and {}, undecided", *(-100 * each.interval.estimate for each in undecided)
    yield "smaller than {} and {} (95%)", *(100 * each.bound for each in undecided)
    plain, penalised = (published.FIGURE_3[each] for each in (VANILLA, CORR_01))
    as_published = {size: plain[size] - penalised[size] for size in grows}
    yield "Figure 3 shows, {} to {} points", *(100 * f(as_published.values()) for f in (min, max))
    inside = [size for size in grows if as_published[size] <= grows[size].interval.high]
    assert inside == ["large"]
    unseen = claims.c5(forty.isel(seed=slice(10, None))).comparisons
    assert [each.outcome for each in unseen] == [each.outcome for each in grows.values()]
    worse = [above_vanilla(forty, size, CORR_01) for size in ("huge", *claims.BELOW_HUGE)]
    yield "by {} points for huge and {}, {}, {} and {} for the smaller ones", *worse

    ends = cell_of(forty, HUGE[0])
    slope = ends.slope.isel(slope_layer=0).sel(epoch=1).values
    fell, near, above = slopes.by_slope(forty, HUGE[0]).values()
    yield "which begins at {}. Of forty", RELEASED.negative_slope
    final = [100 * ends.validation_error.isel(epoch=-1).values[group].mean() for group in (above, fell)]
    yield "{}% above, {}% below", *final
    yield (
        "each network of at least {} goes on to end above 3, each of at most {}",
        slope[above].min(),
        max(slope[fell | near]),
    )
    assert ends.slope.isel(slope_layer=0, epoch=-1).values[above].min() > 3

    decay = sweeps["mnist-decay"]
    above = {
        each.what.split(",")[0]: [-100 * bound for bound in (each.interval.estimate, each.interval.low)]
        for each in beyond.c9(decay).comparisons
        if "last epoch" in each.what
    }
    yield "ends decidedly more than {} points above", 100 * beyond.MARGIN
    constant, falls = (
        {size: above[f"{size}: vanilla - {variant.name}"] for size in SIZES}
        for variant in (CORR_10, beyond.SHRINKING)
    )
    stay = [constant[size][0] for size in ("huge", "large", "small", "tiny")]
    yield "huge by {} points, large by {}, small by {}, tiny by {}, and of the medium", *stay
    yield "the huge network ends {} points above vanilla ({} at most by its interval)", *falls["huge"]
    yield "large {} and tiny {}, all undecided", falls["large"][0], falls["tiny"][0]
    also = [falls[size][0] for size in ("medium", "small")]
    yield "medium {} and small {}, decidedly more than {}.", *also, 100 * beyond.MARGIN
    few, many = (on_diverged(sweep, CORR_10) for sweep in (decay, mnist))
    yield "{} of 50 networks with the weight 1.0 diverged, against {} at the constant rate", few, many

    judged = beyond.c8_shrinking(mnist, cosine).comparisons
    changes = {each.what.split(":")[0]: each.interval for each in judged}
    stays = last[2] - last[0]
    yield "can see ({} on average, {} at most by its interval, against {})", *changes["huge"][::2], stays
    costs = [changes[size].estimate for size in ("small", "medium")]
    yield "of the small and the medium one, decidedly, still {} and {}", *costs
    assert [each.what.split(":")[0] for each in judged if each.outcome == "for"] == ["medium", "small"]
    yield "of the tiny one, undecided, {}", changes["tiny"].estimate
    fell, constant = on_diverged(cosine, beyond.SHRINKING), on_diverged(mnist, CORR_10)
    yield "{} of 50 networks, against {} with the weight 1.0 constant", fell, constant

    conv = sweeps["fashion_mnist-conv"]
    assert not diverged(conv)
    _, early, late = beyond.judge(mnist, {"fashion_mnist-conv": conv})
    assert [each.what for each in early.comparisons if each.outcome != "open"] == [
        "small: vanilla - corr-0.1"
    ]
    yield "to the weight 0.1, by {} points", 100 * early.comparisons[0].interval.estimate
    changes = [100 * each.interval.estimate for each in late.comparisons]
    yield "changes the error by {} points (small) and {} (tiny)", *changes
    yield "{} and {} at most by their intervals", *(100 * each.bound for each in late.comparisons)

    by_what = {each.what: each for each in analysis.c10(page.planned())[0].comparisons}
    outcomes = [each.outcome for each in by_what.values()]
    assert outcomes.count("for") == 4 and outcomes.count("against") == 0
    yield "a rival on covariances in four of {} comparisons", len(outcomes)
    few = ("mnist-500: vcreg", "mnist-2000: vcreg", "mnist-500: decov")
    gains = [100 * by_what[f"{each} - corr"].interval.estimate for each in few]
    yield "2,000 images of MNIST, by {} and {} points", *gains[:2]
    yield "with 500 images of MNIST, by {} points", gains[2]
    (rival,) = (row for row in compared()["fashion_mnist-2000"] if row.method == "vcreg")
    yield "where {} of VCReg's {} networks diverged", rival.diverged, 10
    undecided = [c for what, c in by_what.items() if "decov" in what and c.outcome == "open"]
    assert (sum(c.interval.estimate < 0 for c in undecided), len(undecided)) == (6, 8)

    merged = report.measurements_of()["merging"].sel(threshold=0.6)
    kept, errors = 100 * merging.shares(merged).mean("seed"), 100 * merged.error.mean("seed")
    numbers = [each.sel(variant=name) for name in ("vanilla", "corr-0.1") for each in (kept, errors)]
    yield (
        "|rho| >= 0.6, the vanilla networks keep {}% of their units and err on {}%, "
        "those with the weight 0.1 keep {}% and err on {}%",
        *numbers,
    )


def weights(_):
    yield "The paper's weights 0.1 and 1.0 act as {} and {}", *map(RELEASED.penalty_weight, (0.1, 1.0))
    of_pairs = [0.002 * (d - 1) / 2 for d in (64, 1024)]  # as the page's formula has it
    yield "For 64 units 0.002 on P is {} on the mean; for 1024 units it is {}", *of_pairs
    yield "64 independent units show P = {}, where 0.5 is the least", independent_penalty(32, 64)
    yield "the momentum {}, which the text", PAPER.optimisation.momentum


PAGES = {
    "README.md": front,
    "experiments/README.md": experiments,
    "experiments/paper/README.md": paper,
    "docs/weights.md": weights,
}


@pytest.mark.golden
@pytest.mark.parametrize("name", PAGES)
def test_the_numbers_of_the_sentences(name):
    text = sentences(name)
    for template, *values in PAGES[name](references()):
        found = re.search(re.escape(template).replace(r"\{\}", r"([+-]?\d+(?:\.\d+)?)"), text)
        assert found, template
        for number, value in zip(found.groups(), values, strict=True):
            decimals = len(number.partition(".")[2])
            assert abs(float(number) - value) <= 0.501 * 10**-decimals, (template, number, value)
        text = text.replace(found[0], "")
    for apart in (r"Python \d\.\d+", r"Apache-2\.0", r"Section \d\.\d", r"[\d.]+ us a kernel"):
        text = re.sub(apart, "", text)
    assert set(re.findall(r"\d+\.\d+%?|\d+%", text)) <= SETTINGS


@pytest.mark.golden
def test_the_table_of_digits():
    digits = references()["digits"]
    for variant in ("vanilla", "drop", "corr-0.1", "corr-1.0"):
        cell = cell_of(digits, Network("huge", Variant.parse(variant)))
        measured = [cell.validation_error.sel(epoch=epoch) for epoch in (2, 100)]
        measured += [cell.mean_correlation.isel(epoch=-1).sel(layer=layer) for layer in cell.layer]
        cells = []
        for mean, _, high in (intervals.of_mean(each.values) for each in measured):
            cells.append(f"{mean:.3f} ± {high - mean:.3f}")
        row = f"| huge-{variant} | {' | '.join(cells)} |\n"
        assert row in (ROOT / "experiments" / "README.md").read_text()
