"""Trains one method in one setting, from its search to its report."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from experiments.comparison import results
from experiments.comparison.results import Row
from experiments.comparison.settings import Stage, Work
from experiments.data.pool import Pool
from experiments.run.memory import Room

Trained = Callable[[Work, Stage, Sequence[tuple[int, int]], Pool, jax.Device], list[dict[str, float]]]
"""(work, stage, [(point, seed), ...], data, device) -> measures of the networks, which are trained
together."""


def run(
    trained: Trained,
    work: Work,
    pool: Pool,
    rows: list[Row] | None,
    seconds: float,
    devices: Sequence[jax.Device],
) -> Iterator[tuple[int, list[Row] | None]]:
    """Trains a method's missing networks: on a CPU one after the other, on an accelerator a whole stage at
    once.

    Args:
      trained: a function that trains some networks.
      work: which method, in which setting.
      pool: the data.
      rows: the networks that are done.
      seconds: minimum number of seconds between two results.
      devices: the first of them is used.

    Yields:
      The number of finished networks, and the networks that were finished since the last result (None at the
      start).
    """
    rows = list(rows or [])
    yield len(rows), None
    told, answered = len(rows), time.monotonic()
    together = 1 if devices[0].platform == "cpu" else work.runs
    for stage in work.stages:
        missing = _missing(work, stage, rows)
        for first in range(0, len(missing), together):
            some = missing[first : first + together]
            rows += [
                {"method": work.method, "stage": stage, "point": point, "seed": seed} | measured
                for (point, seed), measured in zip(
                    some, trained(work, stage, some, pool, devices[0]), strict=True
                )
            ]
            if time.monotonic() - answered > seconds or len(rows) == work.runs:
                yield len(rows), rows[told:]
                told, answered = len(rows), time.monotonic()


def _missing(work: Work, stage: Stage, rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Returns the points and seeds of a stage that have no row yet. Earlier stages must be complete."""
    budget = work.setting.budget
    if stage == "search":
        points = list(range(budget.points))
    elif stage == "selection":
        points = results.finalists(rows, budget.finalists)
    else:
        points = [results.chosen(rows, budget.finalists) if work.point is None else work.point]
    done = {(row["point"], row["seed"]) for row in rows if row["stage"] == stage}
    wanted = [(point, seed) for point in points for seed in budget.stage_seeds(stage)]
    return [identity for identity in wanted if identity not in done]


def stacked(runs: Sequence[Any], device: jax.Device) -> Any:
    """Stacks runs along a leading axis [run], on a device. Runs are PyTrees of the same form."""
    return jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *runs), device)


def fits(room: Room, work: Work, pool: Pool) -> None:
    """Accepts any work: the networks of a method are so few and small that they fit into any memory."""
