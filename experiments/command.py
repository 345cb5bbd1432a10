"""The parts that all commands share: options, the loop that trains, the console, and one-line errors."""

import dataclasses
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro
from rich.console import Console

from experiments.disk.errors import ResultsError, first_line
from experiments.disk.files import expanded, remove_temporaries
from experiments.disk.lock import locked
from experiments.grid.cells import Work
from experiments.run import machine
from experiments.run.progress import SweepProgress

if TYPE_CHECKING:  # these modules import JAX, and --help must not wait for JAX
    from experiments.run.executor import Executor
    from experiments.run.local import Training

Options = TypeVar("Options")
Value = TypeVar("Value")

Unset = Annotated[Value | None, tyro.conf.arg(help_behavior_hint="")]
"""An option that is None by default. Its docstring says what None means, because --help shows no "None"."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where to train."""

    executor: Literal["local", "ray"] = "local"
    """Where to train. local: this machine, on all its CPU cores or accelerators. ray: a Ray cluster."""
    address: Unset[str] = None
    """Address of the Ray head, HOST:PORT. Default: start Ray on this machine."""

    def __post_init__(self) -> None:
        if self.address is not None and self.executor != "ray":
            raise ValueError("--address needs --executor ray")

    def prepare(self, plan: bool) -> None:
        """Sets up this process before JAX is imported. If only a plan is shown, JAX reserves no GPU memory.
        For training on this machine, the processes that train are started early."""
        if plan:
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        elif self.executor == "local":
            machine.begin_processes()  # so that they import JAX while this process does

    def connect(self, cells: int, seeds: int) -> "AbstractContextManager[Executor]":
        """Returns a context with an executor that can train this many cells and seeds."""
        from experiments.run import executor

        return executor.connect(self.executor, self.address, cells, seeds)


MachineOptions = Annotated[Machine, tyro.conf.arg(name="")]
"""The options --executor and --address, for any command."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Makes a folder, and keeps other commands from writing there until the context ends. Unfinished files of
    killed commands are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        for suffix in (".nc", ".npz"):
            remove_temporaries(folder, suffix)
        yield


def train(
    executor: "Executor",
    training: "Training",
    work: Sequence[Work],
    dataset: Any,
    console: Console,
    keep: Callable[[Any, int, Any], object],
    read: Callable[[Any], Any] = lambda _: None,
    checkpoint_seconds: float = 0.0,
) -> None:
    """Trains pieces of work and shows the progress.

    Args:
      executor: where to train.
      training: how to train.
      work: the pieces, the longest first, so that no long piece is left for the end.
      dataset: the data for all pieces, in the form that `training` takes.
      console: where progress is shown.
      keep: called with a piece of work, the number of its finished epochs or networks, and its checkpoint
        or None.
      read: a function that returns the last checkpoint of a piece, or None.
      checkpoint_seconds: minimum number of seconds between two checkpoints of a piece.

    Raises:
      ValueError: a piece does not fit into memory. Nothing is trained then.
    """
    for piece in work:
        training.check(executor.room, piece, dataset)
    # The iterator is always closed, so that an interruption ends the executor's training too.
    running = closing(executor.run(training, work, dataset, read, checkpoint_seconds))
    live = is_live(console.file)
    with SweepProgress(console, work, dataset.image_shape, live) as progress, running as events:
        for piece, done, checkpoint in events:
            progress.show(piece, done)
            keep(piece, done, checkpoint)


def parse(options: type[Options], name: str) -> Options:
    """Parses the options of `python -m experiments.NAME` into a dataclass. In paths, ~ becomes the home
    folder."""
    parsed: Any = tyro.cli(options, prog=f"python -m experiments.{name}")
    paths = {name: expanded(path) for name, path in vars(parsed).items() if isinstance(path, Path)}
    return dataclasses.replace(parsed, **paths)


def time_left(seconds: float, platform: str = "cpu") -> str:
    """Returns the remaining time as text, for the output of a plan."""
    return f"{timedelta(seconds=round(seconds))} of one {'core' if platform == 'cpu' else 'accelerator'} left"


def make_console() -> Console:
    """Returns a console on standard output that prints text as it is. Outside of terminals, the
    console is wide enough for the table of a sweep."""
    if sys.stdout is None:  # closed
        return Console(file=io.StringIO(), width=160, markup=False, highlight=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that cannot be printed must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(width=None if is_live(sys.stdout) else 160, markup=False, highlight=False)


def is_live(stream: Any) -> bool:
    """Returns whether a stream is a terminal on which a line can be overwritten."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


@contextmanager
def explained() -> Iterator[None]:
    """Prints each warning, and each error that users can fix, as one line without a traceback."""
    default = warnings.formatwarning
    warnings.formatwarning = lambda message, *_: f"warning: {first_line(message)}\n"
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(
            "interrupted; run the same command again to continue from the last checkpoint"
        ) from None
    except (ValueError, OSError, RuntimeError, ResultsError) as error:
        raise SystemExit(f"error: {first_line(error)}") from error
    finally:
        warnings.formatwarning = default
