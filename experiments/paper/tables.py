"""Tables of the report on the paper: verdicts, published numbers, ablations. README.md shows them too."""

from collections.abc import Mapping, Sequence

from experiments.page.tables import Table
from experiments.paper.ablation import Step
from experiments.statistics.verdicts import Verdict


def of_verdicts(verdicts: Sequence[Verdict]) -> Table:
    """Returns the table of verdicts, one sentence of the paper in each row."""
    header = "claim", "the paper says", "verdict", "comparisons for, against, open"
    return Table(
        header,
        [
            (
                f"{verdict.claim} ({verdict.section})",
                verdict.sentence,
                f"**{verdict.verdict}**",
                verdict.counts,
            )
            for verdict in verdicts
        ],
    )


def of_shares(shares: Mapping[str, tuple[int, int]]) -> Table:
    """Returns the table of how many published numbers lie inside our intervals, from `agreement.shares`."""
    return Table(
        ("published numbers of", "inside", "of"), [(name, *counts) for name, counts in shares.items()]
    )


def of_steps(steps: Sequence[Step]) -> Table:
    """Returns the table of an ablation, without the errors of single networks."""
    header = "step", "mean distance from Figure 4", "networks diverged"
    return Table(
        header, [(step.name, f"{step.distance:.3f}", f"{step.diverged} of {step.networks}") for step in steps]
    )
