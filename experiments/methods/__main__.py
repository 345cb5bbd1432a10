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

    part: Literal["ladder", "comparison", "features", "views"] = "ladder"
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
        tunes = _tunes(method) and setting.title != "features"
        work = Work(setting, method, point=None if tunes else 0)
        done = results.of(rows, method)
        seconds = sum(float(row["seconds"]) for row in done)
        console.print(
            f"{work.name:40} {len(done):3} of {work.runs} networks  {seconds:6.0f} s", soft_wrap=True
        )


def _train(
    options: Methods, pool: "Pool", settings: Sequence[tuple[Setting, Sequence[str]]], console: Console
) -> None:
    from experiments.methods import features, results, training, views

    modules = {"features": features, "views": views}
    how = modules.get(options.part, training).TRAINING
    kept = {setting: results.load(options.out, setting) for setting, _ in settings}

    def keep(work: Work, _: int, rows: list[Any] | None) -> None:
        if rows:
            kept[work.setting].extend(rows)
            results.write(options.out, work.setting, kept[work.setting])

    def read(work: Work) -> list[Any]:
        return results.of(kept[work.setting], work.method)

    wanted = [(setting, method) for setting, methods in settings for method in methods]
    for tunes in (True, False):  # the others need what these choose
        wave = [
            _work(options, setting, method, kept[setting])
            for setting, method in wanted
            if _tunes(method) == tunes
        ]
        if missing := [work for work in wave if len(read(work)) < work.runs]:
            with options.machine.connect(len(missing), 1) as executor:
                command.train(executor, how, missing, pool, console, keep, read, 20)


def _tunes(method: str) -> bool:
    return method not in METHODS or METHODS[method].numbers_of is None


def _work(options: Methods, setting: Setting, method: str, rows: list[Any]) -> Work:
    """The work of a method, with what was chosen for it among the networks that are done."""
    from experiments.methods import results

    if options.part == "features":
        rows = results.load(options.out, dataclasses.replace(setting, title=""))
    elif _tunes(method):
        return Work(setting, method)

    def point(name: str) -> int:
        networks = results.of(rows, name, "search", "selection")
        if len(networks) < setting.budget.networks("search") + setting.budget.networks("selection"):
            raise ValueError(f"{setting.name} needs the numbers of {name}: give --part comparison before")
        return results.chosen(networks, setting.budget.finalists)

    source = METHODS[method]
    slopes = point(source.slopes_of) if source.slopes_of else None
    return Work(setting, method, point(source.numbers_of or method), slopes)


def main() -> None:
    with explained():
        train(parse(Methods, "methods"), make_console())


if __name__ == "__main__":
    main()
