"""Trains what PLAN.md asks for and is missing. `python -m experiments.methods --help`."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from experiments import command
from experiments.command import Machine, MachineOptions, explained, make_console, parse
from experiments.methods.planned import PLANNED, TABLES
from experiments.methods.recipes import METHODS
from experiments.methods.settings import Setting, Work

if TYPE_CHECKING:
    from experiments.data.pool import Pool


@dataclasses.dataclass(frozen=True)
class Methods:
    """Train the planned networks. What is done is skipped; an interrupted command goes on where it was."""

    part: Literal["ladder", "comparison"] = "ladder"
    """Part of the plan."""
    only: tuple[str, ...] = ()
    """Data sets, of those in the plan. Default: all."""
    data_dir: str | None = None
    """Folder of prepared TFDS sets."""
    tables_dir: Path = Path("tables")
    """Folder of the tables' ARFF files."""
    out: Path = Path("results/methods")
    """Folder for the results, one netCDF4 file for each setting."""
    machine: MachineOptions = dataclasses.field(default_factory=Machine)
    plan: bool = False
    """Train nothing. Show what is done and what is missing."""


def train(options: Methods, console: Console) -> None:
    """Trains what is missing, one data set after the other."""
    from experiments.data.pool import load_pool

    options.machine.prepare(options.plan)
    parts = [part for part in PLANNED[options.part]() if not options.only or part.pool in options.only]
    for name, of_one in itertools.groupby(parts, lambda part: part.pool):
        source = str(options.tables_dir / f"{name}.arff") if name in TABLES else name
        pool = load_pool(source, data_dir=options.data_dir)
        settings = [
            (
                Setting(name, pool.identity, pool.rows(part.rows), part.plain, part.budget, part.title),
                part.methods,
            )
            for part in of_one
        ]
        if options.plan:
            for setting, methods in settings:
                _show(options.out, setting, methods, console)
        else:
            with command.writing(options.out):
                _train(options, pool, settings, console)


def _show(folder: Path, setting: Setting, methods: Sequence[str], console: Console) -> None:
    from experiments.methods import results

    rows = results.load(folder, setting)
    for method in methods:
        work = Work(setting, method)
        done = results.of(rows, method)
        seconds = sum(float(row["seconds"]) for row in done)
        console.print(
            f"{work.name:40} {len(done):3} of {work.runs} networks  {seconds:6.0f} s", soft_wrap=True
        )


def _train(
    options: Methods, pool: "Pool", settings: Sequence[tuple[Setting, Sequence[str]]], console: Console
) -> None:
    from experiments.methods import results, training

    kept = {setting: results.load(options.out, setting) for setting, _ in settings}

    def keep(work: Work, _: int, rows: list[Any] | None) -> None:
        if rows:
            kept[work.setting].extend(rows)
            results.write(options.out, work.setting, kept[work.setting])

    def read(work: Work) -> list[Any]:
        return results.of(kept[work.setting], work.method)

    wanted = [Work(setting, method) for setting, methods in settings for method in methods]
    tuning = [work for work in wanted if not METHODS[work.method].numbers_of]
    for wave in (tuning, [work for work in wanted if work not in tuning]):
        missing = [_given(work, kept[work.setting]) for work in wave if len(read(work)) < work.runs]
        if missing:
            with options.machine.connect(len(missing), 1) as executor:
                command.train(executor, training.TRAINING, missing, pool, console, keep, read, 20)


def _given(work: Work, rows: list[Any]) -> Work:
    """The work with what other methods chose for it."""
    from experiments.methods import results

    def point(name: str) -> int:
        return results.chosen(results.of(rows, name), work.setting.budget.finalists)

    method = METHODS[work.method]
    if method.numbers_of is None or method.slopes_of is None:
        return work
    return dataclasses.replace(work, point=point(method.numbers_of), slopes_point=point(method.slopes_of))


def main() -> None:
    with explained():
        train(parse(Methods, "methods"), make_console())


if __name__ == "__main__":
    main()
