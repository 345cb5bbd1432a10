"""Does a method help? All methods are tuned alike and tested once. `python -m experiments.compare --help`."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from decorr._names import check_name
from experiments import command
from experiments.command import Machine, MachineOptions, Unset, explained, make_console, parse
from experiments.comparison.planned import CONVOLUTIONAL, PLAIN, PLANNED, SLOPES, TABLES, Part
from experiments.comparison.recipes import METHODS, Optimiser
from experiments.comparison.settings import DECIDING, Budget, Setting, Work
from experiments.disk.files import check_folder
from experiments.grid.networks import Family

if TYPE_CHECKING:
    from experiments.data.pool import Pool

ALIASES = {"drop": "dropout"}
"""Maps a method's name in sweeps to its name here."""

Wanted = dict[tuple[Setting, str], "Pool"]
"""Maps each setting and method to train, in this order, to the setting's data."""


@dataclasses.dataclass(frozen=True)
class Compare:
    """Compare methods that reduce overfitting, on your data sets. Each method is tuned with the same number
    of trials and tested once, with new seeds and samples. Finished networks are skipped. An interrupted
    comparison continues where it stopped. With --part, train a part of PLAN.md instead."""

    datasets: tuple[str, ...] = ("digits", "breast_cancer", "wine")
    """Data sets: digits, breast_cancer or wine (included); paths of ARFF files, whose last column is the
    class; openml:NAME or openml:NUMBER; TFDS image classification sets."""
    rows: tuple[int, ...] = (1000,)
    """Number of rows in each sample. A fifth of them are for tuning."""
    methods: tuple[str, ...] = ("vanilla", "dropout", "corr")
    """Methods to compare. vanilla is always included. dropout may be typed as drop."""
    family: Family = "mlp"
    """Kind of network. mlp: three layers of 128 units. conv: 16, 32 and 64 channels, for images."""
    optimiser: Optimiser = "momentum"
    """Optimiser of the networks."""
    steps: int = 1500
    """Training steps."""
    points: int = 8
    """Number of hyperparameter settings tried for each method."""
    finalists: int = 2
    """How many of the best settings get more seeds, before one of them is chosen."""
    more_seeds: int = 2
    """Number of additional seeds for each of the best settings."""
    report_seeds: int = 8
    """Number of seeds for the final test, different from those of the trials."""
    part: Unset[Literal["ladder", "comparison", "features", "views"]] = None
    """Part of PLAN.md to train, instead of the options above. Default: none."""
    only: tuple[str, ...] = ()
    """With --part, train only these of its data sets. Default: all of them."""
    data_dir: Unset[str] = None
    """Folder of prepared TFDS sets. Default: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    tables_dir: Path = Path("tables")
    """Folder of the ARFF files that PLAN.md names."""
    out: Path = Path("results/compare")
    """Folder for the results, one netCDF4 file for each setting, and for the page about them."""
    machine: MachineOptions = dataclasses.field(default_factory=Machine)
    plan: bool = False
    """Train nothing. Show what is done, what is missing, and how long the missing networks take."""

    def __post_init__(self) -> None:
        for name in self.methods:
            check_name("method", ALIASES.get(name, name), METHODS)
        for name in ("datasets", "rows"):
            if not getattr(self, name):
                raise ValueError(f"number of {name} must be at least 1; got 0")
        for name, least, number in (("rows", 10, min(self.rows)), ("steps", 1, self.steps)):
            if number < least:
                raise ValueError(f"{name} must be at least {least}; got {number}")
        if self.only and self.part is None:
            raise ValueError("--only selects data sets of a part: give --part, or name them in --datasets")
        if slopes := sorted(set(self.methods) & set(SLOPES)):
            raise ValueError(f"{slopes[0]} is a method of the ladder's first rung: give --part ladder")

    def parts(self) -> list[Part]:
        """Returns the parts to train: those that --part names or, without --part, one for each data set and
        number of rows."""
        if self.part is not None:
            parts = list(PLANNED[self.part]())
            pools = dict.fromkeys(part.pool for part in parts)
            for name in self.only:
                check_name(f"data set of {self.part}", name, pools)
            return [part for part in parts if not self.only or part.pool in self.only]
        budget = Budget(self.points, 1, self.finalists, self.more_seeds, self.report_seeds)
        plain = dataclasses.replace(PLAIN, optimiser=self.optimiser, steps=self.steps, family=self.family)
        if self.family == "conv":
            plain = dataclasses.replace(plain, architecture=CONVOLUTIONAL)
        asked = {"vanilla", *(ALIASES.get(name, name) for name in self.methods)}
        methods = tuple(name for name in METHODS if name in asked)
        kinds = (self.family, "mlp"), (self.optimiser, "momentum")
        title = "-".join(kind for kind, usual in kinds if kind != usual)
        return [
            Part(name, rows, methods, plain, budget, title)
            for name in dict.fromkeys(self.datasets)
            for rows in dict.fromkeys(self.rows)
        ]


def compare(options: Compare, console: Console) -> None:
    """Trains the missing networks, one data set after the other, and writes the page; or shows the plan."""
    check_folder(options.out)
    parts = options.parts()
    if options.part is None and options.report_seeds < DECIDING:
        console.print(
            f"{options.report_seeds} report seeds cannot decide anything: at least {DECIDING} are needed. "
            "The page will recommend nothing.",
            soft_wrap=True,
        )
    options.machine.prepare(options.plan)
    wanted = _wanted(options, parts)
    if options.plan:
        _show(options.out, wanted, console)
        return
    with command.writing(options.out):
        _train(options, wanted, console)

    from experiments.comparison import page

    console.print(f"page: {page.write(options.out).resolve()}", soft_wrap=True)


def _wanted(options: Compare, parts: Sequence[Part]) -> Wanted:
    """Loads the data sets of all parts. Raises ValueError if one of them cannot be used."""
    from experiments.data.load import load_pool

    pools: dict[str, Pool] = {}
    for source in dict.fromkeys(part.pool for part in parts):
        planned_table = options.part is not None and source in TABLES
        path = str(options.tables_dir / f"{source}.arff") if planned_table else source
        pools[source] = load_pool(path, data_dir=options.data_dir)
    for one, other in itertools.combinations(pools.values(), 2):
        if one.name == other.name and one.identity != other.identity:
            raise ValueError(f"two data sets are named {one.name}: rename one of the files")
    return {
        (_setting(pools[part.pool], part), method): pools[part.pool]
        for part in parts
        for method in part.methods
    }


def _setting(pool: "Pool", part: Part) -> Setting:
    """Returns a part's setting on a data set. Raises ValueError if the part cannot use the data set."""
    if part.plain.family == "conv" and pool.image_shape is None:
        raise ValueError(f"{pool.name} is a table: --family conv needs images")
    rows = pool.rows(part.rows)
    if rows - rows // 5 < part.plain.batch_size:
        raise ValueError(
            f"{pool.name} has {rows} rows for a sample: four fifths of them are for training, which needs at "
            f"least {part.plain.batch_size}"
        )
    return Setting(pool.name, pool.identity, rows, part.plain, part.budget, part.title)


def _finished(folder: Path, wanted: Wanted) -> dict[Setting, list[Any]]:
    """Reads the finished networks of all settings."""
    from experiments.comparison import results

    return {setting: results.load(folder, setting) for setting in dict.fromkeys(key[0] for key in wanted)}


def _show(folder: Path, wanted: Wanted, console: Console) -> None:
    """Prints which networks are done, and about how long the missing ones would take."""
    from experiments.comparison import results, timing

    finished, times = _finished(folder, wanted), list[float | None]()
    for setting, method in wanted:
        tunes = _tunes(method) and setting.title != "features"
        work = Work(setting, method, point=None if tunes else 0)
        done = results.of(finished[setting], method)
        text = f"{work.name:40} {len(done):3} of {work.runs} networks"
        if left := work.runs - len(done):
            seconds = timing.seconds(setting, method, done)
            times.append(None if seconds is None else left * seconds)
            text += "" if seconds is None else f", {command.time_left(left * seconds)}"
        console.print(text, soft_wrap=True)
    if known := [seconds for seconds in times if seconds is not None]:
        about = "about" if len(known) == len(times) else "at least"
        console.print(
            f"total: {about} {command.time_left(sum(known))}, plus compilation (estimated from finished "
            "networks here, or on other machines in experiments/comparison/reference)",
            soft_wrap=True,
        )
    elif times:
        console.print("total: unknown, because there is no finished network to estimate it from")


def _train(options: Compare, wanted: Wanted, console: Console) -> None:
    """Trains the missing networks, and writes them to their settings' files."""
    from experiments.comparison import features, results, training, views

    modules = {"features": features, "views": views}
    how = modules.get(options.part or "", training).TRAINING
    # Both may raise an error, so they come before all training.
    kept = _finished(options.out, wanted)
    tuned = {key: _work(options, *key, kept[key[0]]) for key in wanted if _tunes(key[1])}

    def keep(work: Work, _: int, rows: list[Any] | None) -> None:
        if rows:
            kept[work.setting].extend(rows)
            results.write(options.out, work.setting, kept[work.setting])

    def read(work: Work) -> list[Any]:
        return results.of(kept[work.setting], work.method)

    def train(pool: "Pool", works: Sequence[Work]) -> None:
        if missing := [work for work in works if len(read(work)) < work.runs]:
            with options.machine.connect(len(missing), 1) as executor:
                command.train(executor, how, missing, pool, console, keep, read, 20)

    for _, of_one_set in itertools.groupby(wanted, lambda key: key[0].pool):
        keys = list(of_one_set)
        pool = wanted[keys[0]]
        train(pool, [tuned[key] for key in keys if key in tuned])
        # The other methods use hyperparameters that tuned methods chose.
        train(pool, [_work(options, *key, kept[key[0]]) for key in keys if key not in tuned])


def _tunes(method: str) -> bool:
    return method not in METHODS or METHODS[method].numbers_of is None


def _work(options: Compare, setting: Setting, method: str, rows: list[Any]) -> Work:
    """Returns the work of training a method in a setting. A method that is not tuned here gets its
    hyperparameters from finished networks."""
    from experiments.comparison import results

    if options.part == "features":
        rows = results.load(options.out, dataclasses.replace(setting, title=""))
    elif _tunes(method):
        return Work(setting, method)

    def point(name: str) -> int:
        networks = results.of(rows, name, "search", "selection")
        if len(networks) < setting.budget.networks("search") + setting.budget.networks("selection"):
            raise ValueError(
                f"{setting.name} uses the hyperparameters that {name} chose: run --part comparison first"
            )
        return results.chosen(networks, setting.budget.finalists)

    source = METHODS[method]
    slopes = point(source.slopes_of) if source.slopes_of else None
    return Work(setting, method, point(source.numbers_of or method), slopes)


def main() -> None:
    with explained():
        compare(parse(Compare, "compare"), make_console())


if __name__ == "__main__":
    main()
