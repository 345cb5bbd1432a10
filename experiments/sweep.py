"""Trains every network of the paper: sizes x variants x seeds. `python -m experiments.sweep --help`."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from experiments.command import explained, is_live, make_console, parse
from experiments.disk.files import remove_temporaries
from experiments.disk.lock import locked
from experiments.grid.cells import Block, Cell, Precision, make_cells
from experiments.grid.networks import SIZES, Family, Recipe, Scaling, Size
from experiments.grid.protocols import EARLY, PROTOCOLS, VARIANTS
from experiments.run import processes
from experiments.run.progress import SweepProgress
from experiments.store import checkpoints, finished

# JAX, xarray, SciPy and Matplotlib come with imports inside of functions: --help waits for none of them, nor
# does --plan where all is done, and the first epoch for JAX alone.
if TYPE_CHECKING:
    from experiments.data.load import Dataset
    from experiments.run.executor import Executor


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Train every network of the paper, all seeds of one size and variant together, and print what
    came out. What is done is skipped; what was interrupted goes on where it was."""

    dataset: str = "digits"
    """digits (embedded), or any TFDS image classification set: mnist, fashion_mnist, cifar10, ..."""
    data_dir: Path | None = None
    """Folder of prepared TFDS sets. Default: TFDS's own, $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    protocol: str = "released"
    """released: what the author's code does, which gives the published figures. paper: what the text says.
    ablation-STEP, from ablation-printed to ablation-input-dropout: on the way from one to the other;
    released-without-STEP: released but for that step. released-decay: with a learning rate that shrinks."""
    family: Family = "mlp"
    """mlp: the paper's, fully connected. conv: convolutional, tiny 4-8-16 channels, huge 36-72-144."""
    sizes: tuple[Size, ...] = tuple(SIZES)
    """Network sizes, as in Table 1."""
    variants: tuple[str, ...] = tuple(variant.name for variant in VARIANTS)
    """vanilla; drop (rate 0.3) or drop-RATE; penalties: corr-WEIGHT, decov-WEIGHT, vcreg-WEIGHT, for any
    rate in [0, 1) and weight >= 0; corr-WEIGHT-cosine or corr-WEIGHT-exponential, a weight that shrinks
    over all epochs; batchnorm or whiten: layers normalised by batch statistics, or whitened."""
    seeds: int = 10
    """Networks of each size and variant, with the seeds 0, 1, ... Where some are done, only the others are
    trained."""
    epochs: int | None = None
    """Passes over the training set. Default: the protocol's 100."""
    batch_size: int | None = None
    """Samples a minibatch. Default: the protocol's 50."""
    width_order: Literal["descending", "ascending"] | None = None
    """ascending is Table 1 as printed, an ablation. Default: the protocol's, 360-180-90 for huge."""
    input_scaling: Scaling | None = None
    """max: pixels divided by the largest. zscore: by their mean and standard deviation. zca: whitened.
    Default: the protocol's, max for released."""
    out: Path | None = None
    """Folder of the results, one netCDF4 file a size and variant. Default: results/DATASET-PROTOCOL, for conv
    results/DATASET-PROTOCOL-conv."""
    checkpoint_seconds: float = 10.0
    """Least time between two checkpoints of the networks in training."""
    matmul_precision: Precision = "float32"
    """Of the networks' matrix products on a GPU; tensorfloat32 is faster, and named in the results."""
    executor: Literal["local", "ray"] = "local"
    """local: this machine, a process on each core or all accelerators in one. ray: a Ray cluster, each block
    of seeds a task."""
    address: str | None = None
    """Of the Ray cluster's head, HOST:PORT. Default: Ray starts on this machine."""
    plan: bool = False
    """Only print which sizes and variants are done and which are missing: these in blocks of how many runs,
    and what a block takes of a device's memory."""

    def chosen_protocol(self) -> Recipe:
        """The protocol with the options that override it."""
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {self.protocol!r}; the protocols are {', '.join(PROTOCOLS)}")
        options = {name: getattr(self, name) for name in ("epochs", "width_order", "input_scaling")}
        given = {name: value for name, value in options.items() if value is not None}
        protocol = dataclasses.replace(PROTOCOLS[self.protocol], family=self.family, **given)
        if self.batch_size is not None:
            optimisation = dataclasses.replace(protocol.optimisation, batch_size=self.batch_size)
            protocol = dataclasses.replace(protocol, optimisation=optimisation)
        return protocol

    def cells(self) -> tuple[Cell, ...]:
        if self.address is not None and self.executor != "ray":
            raise ValueError("--address is a Ray cluster's: give --executor ray with it")
        protocol = self.chosen_protocol()
        return make_cells(
            self.dataset, protocol, self.sizes, self.variants, self.seeds, self.matmul_precision
        )

    def folder(self) -> Path:
        name = f"{self.dataset.replace('/', '-')}-{self.protocol}"
        return self.out or Path("results") / (name if self.family == "mlp" else f"{name}-{self.family}")


def sweep(options: Sweep, console: Console) -> None:
    """Trains what is missing of a sweep, prints its table, and writes its report."""
    grid, folder = options.cells(), options.folder()
    if options.plan:
        plan(options, grid, folder, console)
        return
    train(options, grid, folder, console)

    from experiments.page import summary
    from experiments.paper import report
    from experiments.store.gathered import gather

    results = gather(folder, [each.network for each in grid])
    summary.show(results, EARLY, console)
    console.print(f"results: {folder.resolve()}/*.nc", soft_wrap=True)
    page = report.write(results, folder)
    console.print(f"report: {page.resolve()}", soft_wrap=True)


def plan(options: Sweep, grid: Sequence[Cell], folder: Path, console: Console) -> None:
    """Prints what is done, and what would be trained how."""
    missing = [each for each in grid if not finished.is_done(folder, each)]
    blocks: dict[Cell, str] = {}
    if missing:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a look may not take a GPU's memory
        from experiments.run import executor

        dataset = _dataset(options, missing[0].protocol)
        with executor.connect(options.executor, options.address, len(missing), options.seeds) as on:
            for cell in missing:
                parts = _blocks(folder, cell, dataset, on)
                largest = max(parts, key=lambda block: block.runs)
                blocks[cell] = f"{len(parts):4} x {largest.runs} runs, {on.room.describe(largest, dataset)}"
    for cell in grid:
        state = f"missing {blocks[cell]}" if cell in blocks else "done"
        console.print(f"{cell.name:20} {state}", soft_wrap=True)


def train(options: Sweep, grid: Sequence[Cell], folder: Path, console: Console) -> None:
    """Trains those cells that a folder lacks; nobody else may train there meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        for suffix in (".nc", ".npz"):
            remove_temporaries(folder, suffix)
        missing = [each for each in grid if not finished.is_done(folder, each)]
        finished.check_others(folder, grid)
        if len(missing) < len(grid):
            console.print(f"{len(grid) - len(missing)} of {len(grid)} already done, skipped")
        if missing:
            _train_missing(options, missing, folder, console)


def _train_missing(options: Sweep, missing: Sequence[Cell], folder: Path, console: Console) -> None:
    protocol, read = missing[0].protocol, functools.partial(checkpoints.read, folder)
    if options.executor == "local":
        processes.prepare()  # they import JAX while it is imported here
    from experiments.run import executor

    with executor.connect(options.executor, options.address, len(missing), options.seeds) as on:
        dataset = _dataset(options, protocol)
        parts = {cell: _blocks(folder, cell, dataset, on) for cell in missing}
        blocks = [each for of_cell in parts.values() for each in of_cell]
        for block in blocks:
            on.room.check(block, dataset)
        shape = dataset.image_shape
        blocks.sort(key=lambda each: -each.cost(shape))  # at the end nothing is long alone
        # Closed whatever happens: an interruption here must end the training there.
        running = closing(on.run_blocks(blocks, dataset, read, options.checkpoint_seconds))
        with SweepProgress(console, blocks, shape, is_live(console.file)) as progress, running as events:
            for block, epoch, checkpoint in events:
                progress.show(block, epoch)
                if checkpoint is not None:
                    checkpoints.write(folder, block, checkpoint)
                if epoch == protocol.epochs:
                    finished.finish(folder, block.cell, parts[block.cell], dataset.version)


def _blocks(folder: Path, cell: Cell, dataset: "Dataset", on: "Executor") -> list[Block]:
    """In which the seeds that a folder lacks of a cell are trained."""
    runs = on.room.runs(cell, dataset, on.runs)
    return checkpoints.blocks(folder, cell, runs, finished.seeds_done(folder, cell))


def _dataset(options: Sweep, protocol: Recipe) -> "Dataset":
    from experiments.data.load import load

    dataset = load(options.dataset, data_dir=options.data_dir, scaling=protocol.input_scaling)
    if (held := len(dataset.validation.labels)) < protocol.optimisation.batch_size:
        batch_size = protocol.optimisation.batch_size
        raise ValueError(f"batch size {batch_size} exceeds the {held} validation samples")
    return dataset


def main() -> None:
    with explained():
        sweep(parse(Sweep, "sweep"), make_console())


if __name__ == "__main__":
    main()
