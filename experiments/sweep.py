"""Trains every network of the paper: sizes x variants x seeds. `python -m experiments.sweep --help`."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from decorr._names import check_name
from experiments import command
from experiments.command import Machine, MachineOptions, Unset, explained, make_console, parse
from experiments.disk.files import check_folder
from experiments.grid.cells import Block, Cell, Checkpoint, Precision, make_cells
from experiments.grid.networks import SIZES, Family, Network, Recipe, Scaling, Size
from experiments.grid.protocols import EARLY, PROTOCOLS, VARIANTS
from experiments.store import checkpoints, finished

# JAX, xarray, SciPy and Matplotlib are imported inside functions. So --help does not wait for them, and
# neither does --plan if everything is done. Training waits only for JAX.
if TYPE_CHECKING:
    from experiments.data.load import Dataset
    from experiments.run.memory import Room


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Train every network of the paper, and print a table of the results.
    Finished networks are skipped. Interrupted ones continue from their last checkpoint."""

    dataset: str = "digits"
    """Data set: digits (included), or a TFDS image classification set: mnist, fashion_mnist, cifar10, ..."""
    data_dir: Unset[str] = None
    """Folder of prepared TFDS sets. Default: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    protocol: str = "released"
    """Training protocol. released: the author's code, which gives the published figures.
    paper: the paper's text.
    ablation-printed, ..., ablation-input-dropout: steps from this text to the code.
    released-without-STEP: the code without one of these steps.
    released-decay: a learning rate that falls to 0 by a half cosine."""
    family: Family = "mlp"
    """Kind of network. mlp: fully connected, like the paper's. conv: convolutional, 4 to 144 channels."""
    sizes: tuple[Size, ...] = tuple(SIZES)
    """Network sizes, as in the paper's Table 1."""
    variants: tuple[str, ...] = tuple(variant.name for variant in VARIANTS)
    """Network variants. vanilla: no regulariser.
    drop: dropout of rate 0.3. drop-RATE: dropout of this rate, in [0, 1). dropout, dropout-RATE: the same.
    corr-WEIGHT, decov-WEIGHT, vcreg-WEIGHT: a penalty with a weight >= 0.
    Like the paper's code, corr divides its weight by the batch size: corr-0.1 is 0.002 in decorr.
    Add -cosine or -exponential to a weight to shrink it over all epochs.
    batchnorm: batch normalisation. whiten: batch whitening."""
    seeds: int = 10
    """Number of seeds for each size and variant. Seeds that are done are not trained again."""
    epochs: Unset[int] = None
    """Passes over the training set. Default: 100, from the protocol."""
    batch_size: Unset[int] = None
    """Minibatch size. Default: 50, from the protocol."""
    optimiser: Unset[Literal["sgd", "adamw"]] = None
    """Optimiser. adamw needs --learning-rate too. Default: sgd."""
    learning_rate: Unset[float] = None
    """Learning rate. Default: 0.05, from the protocol."""
    momentum: Unset[float] = None
    """Momentum of sgd. Default: from the protocol (0 for released)."""
    widths: Unset[tuple[int, ...]] = None
    """Units of each hidden layer. The size multiplies them: tiny by 0.1, small by 0.3, medium by 0.5,
    large by 0.7, huge by 0.9. Default: 400 200 100, or for conv 40 80 160 channels."""
    width_order: Unset[Literal["descending", "ascending"]] = None
    """Order of the layers' widths. ascending: as printed in Table 1, an ablation.
    Default: from the protocol."""
    input_scaling: Unset[Scaling] = None
    """Scaling of pixels. max: divided by the largest. zscore: standardised. zca: whitened.
    Default: from the protocol (max for released)."""
    out: Unset[Path] = None
    """Folder for the results, one netCDF4 file for each size and variant.
    Default: results/DATASET-PROTOCOL, or results/DATASET-PROTOCOL-conv."""
    checkpoint_seconds: float = 10.0
    """Minimum number of seconds between checkpoints."""
    matmul_precision: Precision = "float32"
    """Precision of the networks' matrix products on a GPU. tensorfloat32 is faster."""
    machine: MachineOptions = dataclasses.field(default_factory=Machine)
    plan: bool = False
    """Train nothing. Show what is done, what is missing, and the memory and time for the missing networks."""

    def chosen_protocol(self) -> Recipe:
        """Returns the protocol, changed by the options that override it."""
        check_name("protocol", self.protocol, PROTOCOLS)
        if self.optimiser == "adamw" and self.learning_rate is None:
            raise ValueError("--optimiser adamw needs --learning-rate, such as 0.001")
        protocol = PROTOCOLS[self.protocol]
        optimisation = self._override(protocol.optimisation, "batch_size", "learning_rate", "momentum")
        protocol = dataclasses.replace(protocol, optimisation=optimisation)
        names = "family", "epochs", "optimiser", "widths", "width_order", "input_scaling"
        return self._override(protocol, *names)

    def _override(self, value: Any, *names: str) -> Any:
        """Replaces fields of a dataclass by the options of the same names, if these options are given."""
        options = {name: getattr(self, name) for name in names}
        return dataclasses.replace(value, **{name: x for name, x in options.items() if x is not None})

    def cells(self) -> tuple[Cell, ...]:
        protocol = self.chosen_protocol()
        return make_cells(
            self.dataset, protocol, self.sizes, self.variants, self.seeds, self.matmul_precision
        )

    def folder(self) -> Path:
        name = f"{self.dataset.replace('/', '-')}-{self.protocol}"
        return self.out or Path("results") / (name if self.family == "mlp" else f"{name}-{self.family}")


def sweep(options: Sweep, console: Console) -> None:
    """Trains the missing cells of a sweep, prints the sweep's table and writes its report; or only shows the
    plan."""
    grid, folder = options.cells(), options.folder()
    train(options, grid, folder, console)
    if options.plan:
        return

    from experiments.page import summary
    from experiments.paper import report
    from experiments.store.gathered import gather

    results = gather(folder, [cell.network for cell in grid], options.seeds)
    summary.show(results, EARLY, console)
    if conclusion := report.conclusion(results):
        console.print(conclusion)
    console.print(f"results: {folder.resolve()}/*.nc", soft_wrap=True)
    page = report.write(results, folder)
    console.print(f"report: {page.resolve()}", soft_wrap=True)


def train(options: Sweep, grid: Sequence[Cell], folder: Path, console: Console) -> None:
    """Trains the cells that a folder lacks, with the folder locked; or only shows the plan."""
    check_folder(folder)
    with nullcontext() if options.plan else command.writing(folder):
        missing = finished.missing(folder, grid)
        done = [cell for cell in grid if cell not in missing]
        if options.plan:
            for cell in done:
                console.print(f"{cell.name:20} done", soft_wrap=True)
        elif done:
            console.print(f"{len(done)} of {len(grid)} already done, skipped")
        if missing:
            _train_missing(options, missing, folder, console)


def load_data(cell: Cell, data_dir: str | None, folder: Path) -> "Dataset":
    """Loads the data of a sweep's cell, and checks that the results in the folder are from the same data."""
    from experiments.data.load import load

    dataset = load(cell.dataset, data_dir=data_dir, scaling=cell.protocol.input_scaling)
    batch_size = cell.protocol.optimisation.batch_size
    if (held := len(dataset.validation.labels)) < batch_size:
        raise ValueError(f"batch size {batch_size} exceeds the {held} validation samples")
    finished.check_identity(folder, dataset.identity)
    return dataset


def _train_missing(options: Sweep, missing: Mapping[Cell, int], folder: Path, console: Console) -> None:
    """Trains the missing cells, in blocks that fit into memory and match the checkpoints; or only shows the
    plan."""
    options.machine.prepare(options.plan)
    from experiments.run.epochs import TRAINING, trainer

    first = next(iter(missing))
    with options.machine.connect(len(missing), first.seeds) as executor:
        dataset, blocks = load_data(first, options.data_dir, folder), {}
        for cell, done in missing.items():
            largest = trainer(Block(cell, 0, cell.seeds - 1), dataset)
            runs = executor.room.runs(largest, dataset, min(executor.runs, cell.seeds))
            blocks[cell] = checkpoints.blocks(folder, cell, runs, done)
        if options.plan:
            _show(executor.room, blocks, dataset, folder, console)
            return

        def keep(block: Block, epoch: int, checkpoint: Checkpoint | None) -> None:
            if checkpoint is not None:
                checkpoints.write(folder, block, checkpoint, dataset.identity)
            if epoch == block.length:
                finished.finish(folder, block.cell, blocks[block.cell], dataset.identity)

        work = sorted(itertools.chain(*blocks.values()), key=lambda block: -block.cost(dataset.image_shape))
        read = functools.partial(checkpoints.read, folder, identity=dataset.identity)
        command.train(executor, TRAINING, work, dataset, console, keep, read, options.checkpoint_seconds)


def _show(
    room: "Room", missing: Mapping[Cell, list[Block]], dataset: "Dataset", folder: Path, console: Console
) -> None:
    """Prints how the blocks would be trained, and about how long this would take."""
    from experiments.run.epochs import trainer
    from experiments.store.gathered import expected_seconds

    family = next(iter(missing)).protocol.family
    known, total = _known_seconds(room.platform, dataset.name, family, folder), 0.0
    for cell, blocks in missing.items():
        runs = max(block.runs for block in blocks)
        memory = room.describe(runs, trainer(blocks[0], dataset), dataset)
        count = sum(block.runs for block in blocks)
        together = "" if len(blocks) == 1 else f", {runs} at a time"
        console.print(f"{cell.name:20} {count:4} networks to train{together}: {memory}", soft_wrap=True)
        if known:
            epochs = sum(block.runs * block.length for block in blocks)
            total += epochs * expected_seconds(known, cell, dataset.image_shape)
    if known:
        console.print(f"about {command.time_left(total, room.platform)}, plus compilation")


def _known_seconds(platform: str, dataset: str, family: Family, folder: Path) -> dict[Network, float]:
    """Returns `epoch_seconds` of the networks in the folder. If there are none: on a CPU, the
    times of the reference run if it has this data set; else {}."""
    from experiments.paper.report import REFERENCE
    from experiments.store import compact
    from experiments.store.gathered import epoch_seconds, gather

    if finished.paths(folder):
        return epoch_seconds(gather(folder))
    path = REFERENCE / (f"{dataset}.nc" if family == "mlp" else f"{dataset}-{family}.nc")
    return epoch_seconds(compact.load(path)) if platform == "cpu" and path.exists() else {}


def main() -> None:
    with explained():
        sweep(parse(Sweep, "sweep"), make_console())


if __name__ == "__main__":
    main()
