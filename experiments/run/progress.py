"""Progress of a sweep: a bar on a terminal, one line for each finished block elsewhere."""

import time
from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from experiments.grid.cells import Work


class SweepProgress:
    """A context that shows block, epoch, networks per second and time left.

    On a terminal it redraws a bar, which disappears at the end of the context. Elsewhere it prints a line for
    each finished block.

    A network trained for half its epochs counts as half a network. The time left assumes that a step's cost
    is proportional to the multiplications in the hidden layers.
    """

    def __init__(
        self, console: Console, blocks: Sequence[Work], image_shape: tuple[int, ...], live: bool
    ) -> None:
        self._console, self._image_shape, self._live = console, image_shape, live
        self._numbers = {block: f"[{i}/{len(blocks)}]" for i, block in enumerate(blocks, start=1)}
        self._epochs: dict[Work, int] = {}  # for each block, the epoch shown last
        self._total = sum(block.cost(image_shape) for block in blocks)
        self._left = float(self._total)
        self._networks = self._cost_spent = 0.0
        self._started = time.monotonic()
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not live,
        )
        self._task = self._bar.add_task("", total=self._total)

    def __enter__(self) -> "SweepProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, block: Work, epoch: int) -> None:
        """Shows a block's epoch. Call this method with the first epoch, which may come from a checkpoint, and
        with each later epoch."""
        epochs, cost = block.length, block.cost(self._image_shape)
        first = block not in self._epochs
        again = not first and epoch <= self._epochs[block]  # true if the block's process died
        share = (epoch - self._epochs.get(block, 0)) / epochs
        self._epochs[block] = epoch
        self._left -= share * cost
        if not first:
            self._networks += share * block.runs
            self._cost_spent += share * cost

        elapsed = time.monotonic() - self._started
        parts = [self._numbers[block], block.name, f"{block.unit} {epoch}/{epochs}"]
        if self._cost_spent > 0:
            left = timedelta(seconds=round(elapsed * self._left / self._cost_spent))
            parts += [f"{self._networks / elapsed:.3g} networks/s", f"{left} left"]
        elif epoch:
            parts += ["continued from its checkpoint"]
        if again:
            parts += ["restarted"]
        line = "  ".join(parts)
        self._bar.update(self._task, completed=self._total - self._left, description=line)
        noteworthy = again or epoch == epochs or (first and epoch > 0)
        if not self._live and noteworthy:
            self._console.print(line)
