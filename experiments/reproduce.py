"""Trains the reference run: every sweep behind the report on the paper. `python -m experiments.reproduce`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from decorr._names import check_name
from experiments.command import Unset, explained, make_console, parse
from experiments.compare import Compare, compare
from experiments.comparison import analysis
from experiments.comparison.results import REFERENCE as COMPARISON
from experiments.comparison.results import stored
from experiments.disk.files import check_folder
from experiments.documents.check import mistakes as check_documents
from experiments.grid.cells import Cell
from experiments.grid.protocols import ABLATION, BY_WEIGHT, WITHOUT
from experiments.paper.beyond import STUDIES
from experiments.paper.report import NETWORKS, REFERENCE, write_reference
from experiments.paper.study import Study
from experiments.store import compact, measurements
from experiments.store.configuration import check, check_data
from experiments.store.gathered import concatenate, gather, split
from experiments.sweep import Sweep, load_data, train

SWEEPS = {
    "mnist": Sweep(dataset="mnist").cells(),
    "digits": Sweep().cells(),
    "mnist-paper": Sweep(dataset="mnist", protocol="paper", seeds=3, epochs=20).cells(),
    "mnist-weights": Sweep(
        dataset="mnist",
        sizes=("tiny", "huge"),
        variants=("corr-0.01", "corr-0.03", "corr-0.3", "corr-3", "corr-10"),
        seeds=3,
    ).cells(),
    "mnist-rates": Sweep(
        dataset="mnist", sizes=("tiny", "huge"), variants=("drop-0.1", "drop-0.5", "drop-0.7"), seeds=3
    ).cells(),
    # Ten seeds, because with five or fewer, no sign-flip test could be significant after the correction.
    "fashion_mnist": Sweep(dataset="fashion_mnist").cells(),
}
SWEEPS |= {study.name: study.cells for study in STUDIES if not study.measure}
SWEEPS |= {
    recipe.name: Sweep(
        dataset="mnist",
        protocol=recipe.name,
        variants=tuple(variant.name for variant in BY_WEIGHT),
        seeds=5,
        epochs=2,
    ).cells()
    for recipe in (*ABLATION, *WITHOUT)
}
"""Maps the name of each sweep to its cells. There are sweeps for the paper, the studies and the ablations."""

MEASUREMENTS = {study.name: study for study in STUDIES if study.measure}
"""Maps names to studies whose networks are measured. Their measurements are stored, but no sweeps."""

COMPARISONS = {
    "ladder": Compare(part="ladder"),
    "comparison": Compare(part="comparison"),
    "features": Compare(part="features"),
    "views": Compare(part="views"),
}
"""Maps the name of each part of the comparison's plan to the options that train this part."""


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Train the reference run again (about twenty hours on two cores), and draw its figures and verdicts.
    Networks that --out already holds are skipped. Interrupted ones continue from their last checkpoint.
    """

    only: tuple[str, ...] = (*SWEEPS, *MEASUREMENTS, *COMPARISONS)
    """Sweeps, measurements and comparisons to run."""
    data_dir: Unset[str] = None
    """Folder of prepared TFDS sets. Default: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    tables_dir: Path = Path("tables")
    """Folder of the ARFF files that the comparison's plan names."""
    results: Path = Path("results/reproduced")
    """Folder that holds one folder for each sweep."""
    out: Path = REFERENCE
    """Folder for the compact files, one for each sweep, and for the report about them."""
    comparison: Path = COMPARISON
    """Folder for the comparisons' files and for the page about them."""


def train_cells(options: Reproduce, name: str, grid: Sequence[Cell], console: Console) -> Path:
    """Trains those cells that the results folder of this name lacks, and returns the folder."""
    folder = options.results / name
    train(Sweep(data_dir=options.data_dir), grid, folder, console)
    return folder


def reproduce(options: Reproduce, name: str, grid: Sequence[Cell], console: Console) -> None:
    """Trains those cells of a sweep that its compact file lacks. Each cell is added to the file when done."""
    path = options.out / f"{name}.nc"
    kept = split(compact.load(path)) if path.exists() else []
    done = {str(cell.cell.values): str(cell.configuration.values) for cell in kept}
    for cell in grid:
        if cell.name in done:
            check(f"{cell.name} in {path}", done[cell.name], cell)
            continue
        console.print(f"{name}: {cell.name}")
        trained = gather(train_cells(options, name, (cell,), console), [cell.network], cell.seeds)
        for identity in {str(other.dataset_version.values) for other in kept}:
            check_data(path, identity, str(trained.dataset_version.values[0]))
        if name != cell.dataset:  # a scan or an ablation: its matrices are not drawn
            trained = trained.drop_dims(["unit", "other_unit"])
        kept += split(trained)
        compact.save(concatenate(kept), path)


def measure(options: Reproduce, study: Study, console: Console) -> None:
    """Trains the networks of a study and stores its measurements, unless they are stored already."""
    path = options.out / NETWORKS / f"{study.name}.nc"
    if study.measure is None or measurements.is_done(path, study.cells):
        return
    console.print(f"{study.name}: {', '.join(cell.name for cell in study.cells)}")
    folder = train_cells(options, study.name, study.cells, console)

    from experiments.run import host  # imports JAX: --help must not wait for it

    host.configure()  # needed if nothing was trained; must come before JAX runs
    dataset = load_data(study.cells[0], options.data_dir, folder)
    measurements.save(study.measure(folder, study.cells, dataset), path, folder, study.cells)


def main() -> None:
    with explained():
        options, console = parse(Reproduce, "reproduce"), make_console()
        for name in options.only:
            check_name("sweep", name, Reproduce.only)
        for folder in (options.out, options.results, options.comparison):
            check_folder(folder)
        options.out.mkdir(parents=True, exist_ok=True)
        for name in options.only:
            if name in COMPARISONS:
                mine = dataclasses.replace(
                    COMPARISONS[name],
                    data_dir=options.data_dir,
                    tables_dir=options.tables_dir,
                    out=options.comparison,
                )
                compare(mine, console)
            elif name in MEASUREMENTS:
                measure(options, MEASUREMENTS[name], console)
            else:
                reproduce(options, name, SWEEPS[name], console)
        if (options.out / "mnist.nc").exists():
            c10 = analysis.c10(stored(options.comparison))
            page = write_reference(options.out, options.out, c10)
            console.print(f"report: {page.resolve()}", soft_wrap=True)
        if options.out == REFERENCE:  # the documents are about these results
            for mistake in check_documents():
                console.print(mistake, soft_wrap=True)


if __name__ == "__main__":
    main()
