"""The report's tables as Markdown, as README.md beside this file shows them; "" where there is nothing."""

from collections.abc import Mapping, Sequence

from experiments.paper.ablation import Step
from experiments.statistics.verdicts import Verdict


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


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines) if rows else ""
