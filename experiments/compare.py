"""Does a penalty help? All methods tuned alike, reported once. `python -m experiments.compare --help`."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from experiments import command
from experiments.command import Machine, MachineOptions, explained, make_console, parse
from experiments.comparison.methods import METHODS, STEPS, Setting, steps_for
from experiments.comparison.trials import Trials
from experiments.grid.cells import Arrays
from experiments.grid.networks import Family, Size

# JAX and xarray come with imports inside of functions: --help waits for neither.
if TYPE_CHECKING:
    from experiments.data.load import Dataset

_SIZE: dict[Family, Size] = {"mlp": "medium", "conv": "tiny"}


@dataclasses.dataclass(frozen=True)
class Compare:
    """Compare methods against overfitting. Each is tuned with the same number of trials (strength, learning
    rate, early stopping) on the validation split, trained again with other seeds, and tested once.
    Finished methods are skipped. An interrupted comparison continues with the missing trials."""

    datasets: tuple[str, ...] = ("digits",)
    """Data sets: digits (included), or TFDS image classification sets with a test split."""
    data_dir: str | None = None
    """Folder of prepared TFDS sets. Default: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    images: tuple[int, ...] = tuple(STEPS)
    """Training set sizes. A size larger than the training split means all of it."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods to compare. vanilla is always included."""
    family: Family = "mlp"
    """Kind of network. mlp: fully connected. conv: convolutional."""
    size: Size | None = None
    """Network size. Default: medium, or tiny for conv."""
    trials: int = 12
    """Number of hyperparameter settings tried for each method."""
    seeds: int = 3
    """Number of seeds for each trial."""
    report_seeds: int = 10
    """Number of seeds for the final test, different from those of the trials."""
    moments: int = 50
    """Number of validations during a training, at equal intervals."""
    steps: int | None = None
    """Training steps. Default: from 5,000 for 500 images to 40,000 for 50,000 images."""
    out: Path = Path("results/compare")
    """Folder for the results, one netCDF4 file for each data set and size, and for the page about them."""
    machine: MachineOptions = dataclasses.field(default_factory=Machine)
    plan: bool = False
    """Train nothing. Show what is done and what is missing."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.methods) - set(METHODS)):
            raise ValueError(f"unknown method {unknown[0]!r}; the methods are {', '.join(METHODS)}")
        for name in ("datasets", "images"):
            if not getattr(self, name):
                raise ValueError(f"number of {name} must be at least 1; got 0")
        for name, numbers in (("images", self.images), ("moments", [self.moments]), ("steps", [self.steps])):
            if wrong := [number for number in numbers if number is not None and number < 1]:
                raise ValueError(f"{name} must be at least 1; got {wrong[0]}")

    def settings(self, dataset: str, training_images: int, identity: str = "") -> tuple[Setting, ...]:
        """One for each size of the training set of some data."""
        return tuple(
            Setting(
                dataset,
                images,
                self.family,
                self.size or _SIZE[self.family],
                steps_for(images, self.moments) if self.steps is None else self.steps,
                self.trials,
                self.seeds,
                self.report_seeds,
                self.moments,
                identity,
            )
            for images in dict.fromkeys(min(each, training_images) for each in self.images)
        )


def compare(options: Compare, console: Console) -> None:
    """Trains what is missing of a comparison, and writes its page."""
    from experiments.comparison import page

    options.machine.prepare(options.plan)
    datasets = [_dataset(name, options.data_dir) for name in options.datasets]
    settings = [
        (dataset, setting)
        for dataset in datasets
        for setting in options.settings(dataset.name, len(dataset.train.labels), dataset.identity)
    ]
    for _, setting in settings:
        _missing(options, setting)  # raises before anything is trained
    for dataset, setting in settings:
        if options.plan:
            _plan(options, setting, console)
        else:
            _train(options, setting, dataset, console)
            written = page.write(options.out)
    if not options.plan:
        console.print(f"page: {written.resolve()}", soft_wrap=True)


def _dataset(name: str, data_dir: str | None) -> "Dataset":
    from experiments.data.load import load

    dataset = load(name, data_dir=data_dir)
    if dataset.test is None:
        raise ValueError(f"{name!r} has no test split, on which methods are reported")
    return dataset


def _missing(options: Compare, setting: Setting) -> list[str]:
    from experiments.comparison import results

    there = results.done(options.out, setting)
    return [name for name in METHODS if name in {"vanilla", *options.methods} and name not in there]


def _plan(options: Compare, setting: Setting, console: Console) -> None:
    from experiments.comparison import results

    missing = _missing(options, setting)
    for name in METHODS:
        if name in {"vanilla", *options.methods}:
            ended = sum(
                results.read_trial(options.out, setting, name, trial) is not None
                for trial in range(setting.trials)
            )
            state = f"missing, {ended} of {setting.trials} trials done" if name in missing else "done"
            console.print(f"{setting.name:24} {name:13} {setting.steps} steps  {state}", soft_wrap=True)


def _train(options: Compare, setting: Setting, dataset: "Dataset", console: Console) -> None:
    """Trains what is missing of a setting: the trials of all methods, then their reports."""
    from experiments.comparison import results, training

    folder = options.out
    with command.writing(folder, folder / setting.name):
        for method in results.done(folder, setting):
            results.remove_trials(folder, setting, method)
        missing = _missing(options, setting)
        if not missing:
            return
        runs = setting.trials * setting.seeds
        with options.machine.connect(len(missing), runs) as executor:
            together = 1 if executor.room.platform == "cpu" else setting.trials

            def keep(trials: Trials, _: int, found: Arrays | None) -> None:
                if found is not None:
                    results.write_trials(folder, trials, found)

            for stage in (_tuning(folder, setting, missing, together), _reports(folder, setting, missing)):
                command.train(executor, training.TRAINING, list(stage), dataset, console, keep)
        for method in missing:
            results.finish(folder, setting, method)


def _tuning(folder: Path, setting: Setting, methods: Sequence[str], together: int) -> Iterator[Trials]:
    """The trials that have not ended."""
    from experiments.comparison import results

    for name in methods:
        numbers = setting.numbers(METHODS[name])
        for first in range(0, setting.trials, together):
            trials = range(first, min(first + together, setting.trials))
            if any(results.read_trial(folder, setting, name, trial) is None for trial in trials):
                chosen = tuple(numbers[trial] for trial in trials)
                yield Trials(setting, name, chosen, first, tuple(range(setting.seeds)))


def _reports(folder: Path, setting: Setting, methods: Sequence[str]) -> Iterator[Trials]:
    """The reports that have not ended, of methods that are tuned."""
    from experiments.comparison import results

    seeds = tuple(range(setting.seeds, setting.seeds + setting.report_seeds))
    for name in methods:
        if results.read_report(folder, setting, name) is None:
            best = results.tuned(folder, setting, name)
            assert best is not None
            trial, moment = best
            numbers = setting.numbers(METHODS[name])[trial]
            yield Trials(setting, name, (numbers,), trial, seeds, moment)


def main() -> None:
    with explained():
        compare(parse(Compare, "compare"), make_console())


if __name__ == "__main__":
    main()
