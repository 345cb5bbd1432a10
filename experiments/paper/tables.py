"""The report's tables as Markdown, as README.md beside this file shows them; "" where there is nothing."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import xarray as xr

from experiments.paper import basins, dropout_law, merging
from experiments.paper.ablation import Step
from experiments.statistics.verdicts import Verdict
from experiments.store.gathered import effective_units, split


def verdicts(judged: Sequence[Verdict]) -> str:
    """What `claims.judge` or `beyond.judge` gives."""
    header = "claim", "the paper says", "verdict", "comparisons for, against, open"
    return _table(
        header,
        [
            (f"{each.claim} ({each.section})", each.sentence, f"**{each.verdict}**", each.counts)
            for each in judged
        ],
    )


def agreement(shares: Mapping[str, tuple[int, int]]) -> str:
    """What `agreement.shares` gives."""
    return _table(("published numbers of", "inside", "of"), [(name, *each) for name, each in shares.items()])


def ablation(steps: Sequence[Step]) -> str:
    """What `ablation.steps` or `ablation.without` gives, but for the single networks."""
    header = "step", "mean distance from Figure 4", "networks diverged"
    return _table(
        header,
        [
            (
                each.name,
                f"{each.distance:.3f}",
                f"{each.diverged} of {each.networks}",
            )
            for each in steps
        ],
    )


class Table(NamedTuple):
    """What the page shows too."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


def merged(found: Sequence[merging.Row]) -> list[Table]:
    """What `merging.rows` gives."""
    header = "networks", "share of hidden units needed, mean", "least to most", "diverged, left out"
    rows = [
        (
            each.variant.name,
            f"{each.mean:.3f}",
            f"{each.least:.3f} to {each.most:.3f}",
            f"{each.diverged} of {each.networks}",
        )
        for each in found
    ]
    return _some(Table(header, rows))


def dropout_laws(found: Sequence[dropout_law.Row]) -> list[Table]:
    """What `dropout_law.rows` gives."""

    def spread(mean: float, least: float, most: float) -> str:
        return f"{mean:.3f} ({least:.3f} to {most:.3f})"

    header = "layer", "law", "slope, mean (least to most)", "R^2"
    rows = [(each.layer, each.law, spread(*each.slope), spread(*each.r2)) for each in found]
    return _some(Table(header, rows))


def layers(sweep: xr.Dataset) -> list[Table]:
    """What each layer of a sweep's networks is like after training; those that diverged are left out."""
    rows = []
    for cell in split(sweep):
        last = cell.isel(seed=cell.diverged_epoch.values == 0, epoch=-1)
        correlation = last.mean_correlation.mean("seed").values
        units = effective_units(cell).isel(epoch=-1).sel(seed=last.seed).mean("seed").values
        rows.append(
            (
                str(cell.cell.values),
                *(f"{rho:.3f}, {worth:.1f}" for rho, worth in zip(correlation, units, strict=True)),
            )
        )
    names = [f"layer {layer}: mean abs. rho, effective units" for layer in sweep.layer.values]
    return _some(Table(("network", *names), rows))


def basin(groups: Sequence[basins.Basin], signs: Sequence[basins.Sign]) -> list[Table]:
    """What `basins.basins` and `basins.signs` give."""
    ends = [
        (
            each.which,
            f"{each.ended} of {each.networks}",
            f"{each.share.estimate:.2f} [{each.share.low:.2f}, {each.share.high:.2f}]",
        )
        for each in groups
    ]
    told = [(each.what, each.epoch, f"{each.area:.2f}", f"{each.p:.2g}") for each in signs]
    return _some(
        Table(("slope of layer 1 at the end", "networks", "share [95%]"), ends),
        Table(("number", "after epoch", "area under the ROC curve", "p, corrected"), told),
    )


def _some(*tables: Table) -> list[Table]:
    return [each for each in tables if each.rows]


def markdown(tables: Sequence[Table]) -> str:
    """Tables one below the other."""
    return "\n".join(_table(*each) for each in tables)


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines) if rows else ""
