"""Tables of the comparison's page."""

from collections.abc import Iterator, Sequence
from itertools import compress

import numpy as np

from experiments.comparison import analysis, described, ladder, results
from experiments.comparison.analysis import Advice, Judged
from experiments.comparison.recipes import METHODS, WITHOUT_LABELS
from experiments.comparison.results import Row, Stored
from experiments.page.tables import Table
from experiments.statistics import intervals
from experiments.statistics.over_sets import Effect


def setting(column: Stored) -> Table:
    """Returns the table of a setting: the measures of each method, averaged over its reported networks."""
    header = ["method", "test error, %", "- vanilla, points [95%]", "nll", "after scaling", "noise", "pruned"]
    header += ["effective units", "ms a step", "failed"]
    steps, lines = column.setting["plain"]["steps"], []
    for method in [name for name in METHODS if results.of(column.reported, name)]:
        rows = results.of(column.reported, method)
        change = ladder.gain(column.reported, method, "vanilla")  # the error above vanilla's
        units = [name for name in rows[0] if name.startswith("effective_units")]
        lines.append(
            [
                method,
                f"{ladder.errors(rows, method).mean():.2f}",
                "" if method == "vanilla" else ladder.told(change),
                f"{_mean(rows, 'test_nll'):.3f}",
                f"{_mean(rows, 'scaled_nll'):.3f}",
                f"{100 * _mean(rows, 'noise_error'):.1f}",
                f"{100 * _mean(rows, 'pruned_error'):.1f}",
                ", ".join(f"{_mean(rows, name):.0f}" for name in units),
                f"{1000 * np.median([row['seconds'] for row in rows]) / steps:.2f}",
                f"{results.failed(rows)} of {len(rows)}",
            ]
        )
    return Table(header, lines)


def _mean(rows: Sequence[Row], name: str) -> float:
    """Returns the mean of a measure over the networks that have the measure."""
    values = np.array([row.get(name, np.nan) for row in rows], float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def percent(effect: Effect) -> str:
    """Returns an effect and its interval as text: the change from the other method's error, in %. Returns
    only the mean for fewer data sets than `analysis.FEWEST`, and "" for none."""
    if not len(effect.sets):
        return ""
    mean, low, high = 100 * np.expm1(effect.interval)
    return f"{mean:+.1f}%" + (f" [{low:+.1f}, {high:+.1f}]" if analysis.enough(effect) else "")


SHOWN = (
    ("dropout", "vanilla"),
    ("corr", "vanilla"),
    ("corr-dropout", "vanilla"),
    ("corr-dropout", "dropout"),
)
"""Pairs of methods in the table of answers: a method, and the method that it is compared with."""


def _named(method: str, against: str) -> str:
    """Returns the name of a pair of methods. The plain network is not mentioned."""
    return method if against == "vanilla" else f"{method} against {against}"


def answers(settings: Sequence[Stored], judged: Sequence[Judged], advised: Sequence[Advice]) -> Table:
    """Returns the table of answers: what the users of each kind of data or network can expect. Its last
    column has the answer by PLAN.md's hypotheses and its rule for advice. Methods that no data set has are
    left out."""
    planned: dict[str, list[str]] = {}
    for tested in judged:
        name, _, method, against = tested.hypothesis[:4]
        if name in ("H1", "H2", "H5") and len(tested.effect.sets):
            row = described.DAMAGED if name == "H5" else described.EVERYONE
            planned.setdefault(row, []).append(f"{method} against {against}: {tested.says} ({name})")
    for each in advised:
        if each.method in ("corr", "corr-dropout"):
            row = described.IMAGES if each.images else described.TABLES
            planned.setdefault(row, []).append(f"{each.method} against {each.against}: {each.says}")
    rows = []
    for kind, networks, measures in described.readers(settings):
        effects = [analysis.effect(networks, *pair, measures) for pair in SHOWN]
        if sets := max(len(effect.sets) for effect in effects):
            answer = "; ".join(planned.get(kind, ["no planned test"]))
            rows.append([kind, sets, *map(percent, effects), answer])
    header = ["for whom", "data sets"]
    header += [*(_named(*pair) for pair in SHOWN), "answer by the plan"]
    shown = [any(values) for values in zip(*rows, strict=True)]
    return Table([*compress(header, shown)], [[*compress(row, shown)] for row in rows])


def advice(advised: Sequence[Advice]) -> Table:
    """Returns the table of PLAN.md's advice on every method, for images and for tables."""
    shown: dict[str, dict[str, Advice]] = {}
    for each in advised:
        data = described.IMAGES if each.images else described.TABLES
        shown.setdefault(data, {})[each.method] = each
    header = ["method"]
    for data, by_method in shown.items():
        header += [f"{data}: against {next(iter(by_method.values())).against}", "answer"]
    rows = []
    for method in METHODS:
        found = [by_method.get(method) for by_method in shown.values()]
        if any(found):
            rows.append([method])
            for of_method in found:
                rows[-1] += [percent(of_method.effect), of_method.says] if of_method else ["", ""]
    return Table(header, rows)


def hypotheses(judged: Sequence[Judged]) -> Table:
    """Returns the table of the hypotheses H1 to H5, with their tests. Hypotheses with fewer data sets than
    `analysis.FEWEST` are left out."""
    header = [
        "",
        "statement",
        "outcome",
        "effect [95%]",
        "p (Holm)",
        "sets",
        "P(A > B) [95%]",
        "p (within 2%)",
    ]
    rows = [
        [
            each.hypothesis.name,
            each.hypothesis.text,
            each.outcome,
            percent(each.effect),
            f"{each.p:.2g}",
            len(each.effect.sets),
            "{:.2f} [{:.2f}, {:.2f}]".format(*each.better),
            f"{each.equivalent:.2g}",
        ]
        for each in judged
        if analysis.enough(each.effect)
    ]
    return Table(header, rows)


def without_labels(settings: Sequence[Stored]) -> Iterator[tuple[str, Table]]:
    """Yields the name of each data set, and its table of the methods that learn from two views."""
    for name, setting, reported, _ in settings:
        if setting["title"] != "views":
            continue
        shown = name.removesuffix("-views")
        header = [
            f"loss on {shown}",
            "error with 100 labels, % ± 95%",
            "all labels, %",
            "effective units of layer 2",
            "of the embedding",
        ]
        lines = []
        for method in [name for name in WITHOUT_LABELS if results.of(reported, name)]:
            rows = results.of(reported, method)
            mean = intervals.of_mean(ladder.errors(rows, method))
            half = mean.high - mean.estimate
            lines.append(
                [
                    method,
                    f"{mean.estimate:.1f} ± {half:.1f}",
                    f"{100 * _mean(rows, 'all_labels_error'):.1f}",
                    f"{_mean(rows, 'effective_units'):.1f}",
                    f"{_mean(rows, 'embedded_effective_units'):.1f}",
                ]
            )
        yield shown, Table(header, lines)


def label_free_statements(settings: Sequence[Stored]) -> Table:
    """Returns the table of the plan's statement W. Its interval is that of align-corr's gain against align,
    in points."""
    rows = []
    for name, setting, reported, _ in settings:
        if setting["title"] == "views" and all(
            results.of(reported, each) for each in ("align", "align-corr")
        ):
            gain = ladder.gain(reported, "align", "align-corr")
            text = "with 100 labels, align-corr errs less than align"
            rows.append(
                ["W", name.removesuffix("-views"), text, ladder.told(gain), ladder.judge(gain, low=0)]
            )
    return Table(["", "data set", "statement", "points [95%]", "outcome"], rows)


def methods(settings: Sequence[Stored]) -> tuple[Table, str]:
    """Returns the table of the methods that were trained on all data sets on which vanilla errs. Also returns
    a note that says when mean ranks differ significantly; "" for fewer than three methods."""
    columns = {
        name: column
        for name, column in analysis.by_set(settings).items()
        if any(row["test_error"] for row in results.of(column.reported, "vanilla"))
    }
    if not columns:
        return Table([], []), ""
    standings, ranks = described.standings({name: column.reported for name, column in columns.items()})
    header = ["method", "mean rank", "error against vanilla's", "median of sets", "95% of such sets"]
    header += ["interquartile mean [95%]", "failed"]
    header += ["tuning error of the best of 4 points", "of 32"]
    rows = []
    for each in standings:
        tuned = [
            100 * np.mean([described.best_of(column, each.method, tried) for column in columns.values()])
            if all(results.of(column.searched, each.method) for column in columns.values())
            else float("nan")
            for tried in (4, 32)
        ]
        ratio = median = range_of_sets = ""
        if each.method != "vanilla" and analysis.enough(each.ratio):
            ratio, median = percent(each.ratio), f"{100 * np.expm1(np.median(each.ratio.sets)):+.1f}%"
            range_of_sets = "{:+.0f} to {:+.0f}%".format(*100 * np.expm1(each.ratio.another_set()[1:]))
        failed = f"{each.failed} of {each.networks}"
        rows.append(
            [
                each.method,
                f"{each.rank:.2f}",
                ratio,
                median,
                range_of_sets,
                "{:.3f} [{:.3f}, {:.3f}]".format(*each.interquartile),
                failed,
            ]
            + [f"{error:.2f}" for error in tuned]
        )
    note = (
        f"Friedman's test that all methods are equal gives p = {ranks.p:.2g}. Mean ranks that differ by "
        f"less than {ranks.distance:.2f} are not significantly different (Nemenyi, 5%)."
    )
    return Table(header, rows), note if len(rows) > 2 else ""


def edges(settings: Sequence[Stored]) -> Table:
    """Returns the table of how often a method's chosen hyperparameters lie at an end of their ranges, and of
    how many trials failed."""
    found = list(described.edges(settings))
    names = list(dict.fromkeys(name for edge in found for name in edge.at))
    numbers = [name.replace("_", " ") for name in names]
    return Table(
        ["method", "settings", *numbers, "range of the learning rate", "failed trials"],
        [
            [
                edge.method,
                edge.settings,
                *(edge.at.get(name, "") for name in names),
                "too narrow" if edge.too_narrow else "wide enough",
                f"{edge.failed} of {edge.trials}",
            ]
            for edge in found
        ],
    )


def measures(settings: Sequence[Stored]) -> dict[str, Table]:
    """Returns a dict from titles to tables of the measures beside the test error: each method's measures
    against vanilla's, then corr-dropout's against dropout's. Measures that fewer than two data sets have are
    left out."""
    networks, made = analysis.of(settings), {}
    pairs = [(method, "vanilla") for method in METHODS if method != "vanilla"] + [("corr-dropout", "dropout")]
    for title, columns in described.MEASURES.items():
        having = {name: described.measured(networks, name) for name in columns.values()}
        columns = {name: each for name, each in columns.items() if len(having[each]) > 1}
        rows = [
            [
                _named(method, against),
                *(
                    percent(analysis.effect(having[each], method, against, (each,)))
                    for each in columns.values()
                ),
            ]
            for method, against in pairs
        ]
        if rows := [row for row in rows if any(row[1:])]:
            made[title] = Table(["method", *columns], rows)
    return made


def transfer(settings: Sequence[Stored]) -> Table:
    """Returns the table of probes' errors on classes that were held out of training."""
    return Table(
        ["hidden layer", "rows of each class", "method", "data sets", "error against vanilla's"],
        [
            [layer, shots, method, len(effect.sets), percent(effect)]
            for layer, shots, method, effect in described.transfer(settings)
            if len(effect.sets)
        ],
    )
