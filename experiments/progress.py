"""How far a sweep is: a bar on a terminal, one line for each finished cell elsewhere."""

import itertools
import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from experiments.grid import Cell


class SweepProgress:
    """Shows cell, epoch, networks per second and time left; a context, at whose end the bar goes.

    A network trained for half its epochs counts as half a network. The time left supposes that a step
    costs what the network has in weights.
    """

    def __init__(self, console: Console, cells: list[Cell], features: int) -> None:
        self._console, self._features = console, features
        self._numbers = {cell.name: f"[{i}/{len(cells)}]" for i, cell in enumerate(cells, start=1)}
        self._left = self._total = sum(map(self._cost, cells))
        self._networks = self._cost_spent = 0.0
        self._position = ("", 0)  # the cell last shown, and its epoch
        self._started = time.monotonic()
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=self._total)

    def __enter__(self) -> "SweepProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, cell: Cell, epoch: int) -> None:
        """To be called with every cell's first epoch, which may come from a checkpoint, and each after."""
        name, shown = self._position
        before = shown if name == cell.name else 0
        share = (epoch - before) / cell.protocol.epochs
        self._position = (cell.name, epoch)
        self._left -= share * self._cost(cell)
        if name == cell.name:
            self._networks += share * cell.seeds
            self._cost_spent += share * self._cost(cell)

        elapsed = time.monotonic() - self._started
        parts = [self._numbers[cell.name], cell.name, f"epoch {epoch}/{cell.protocol.epochs}"]
        if self._networks:
            left = timedelta(seconds=round(elapsed * self._left / self._cost_spent))
            parts += [f"{self._networks / elapsed:.3g} networks/s", f"{left} left"]
        elif epoch:
            parts += ["from its checkpoint"]
        line = "  ".join(parts)
        self._bar.update(self._task, completed=self._total - self._left, description=line)
        resumed = name != cell.name and epoch > 0
        if not self._console.is_terminal and (epoch == cell.protocol.epochs or resumed):
            self._console.print(line, markup=False, highlight=False)

    def _cost(self, cell: Cell) -> float:
        widths = (self._features, *cell.protocol.architecture(cell.size).widths)
        return cell.seeds * sum(i * o for i, o in itertools.pairwise(widths))
