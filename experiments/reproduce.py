"""The reference run: every sweep that the report of the paper rests on. `python -m experiments.reproduce`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import xarray as xr
from rich.console import Console

from experiments.command import explained, make_console, parse
from experiments.compare import Compare, compare
from experiments.comparison.page import REFERENCE as COMPARISON
from experiments.grid.protocols import ABLATION, WITHOUT
from experiments.paper import dropout_law, merging
from experiments.paper.report import NETWORKS, REFERENCE, write_reference
from experiments.store import compact, measurements
from experiments.store.configuration import check, check_data
from experiments.store.gathered import concatenate, gather, split
from experiments.sweep import Sweep, load_data, train

SWEEPS = {
    "mnist": Sweep(dataset="mnist"),
    "digits": Sweep(),
    "mnist-paper": Sweep(dataset="mnist", protocol="paper", seeds=3, epochs=20),
    "mnist-weights": Sweep(
        dataset="mnist",
        sizes=("tiny", "huge"),
        variants=("corr-0.01", "corr-0.03", "corr-0.3", "corr-3", "corr-10"),
        seeds=3,
    ),
    "mnist-rates": Sweep(
        dataset="mnist", sizes=("tiny", "huge"), variants=("drop-0.1", "drop-0.5", "drop-0.7"), seeds=3
    ),
    # With five seeds, as with three, no sign-flip test could decide after the correction.
    "fashion_mnist": Sweep(dataset="fashion_mnist"),
    # Beyond the paper: PLAN.md.
    "mnist-forty": Sweep(dataset="mnist", variants=("vanilla", "corr-0.1"), seeds=40),
    "mnist-decay": Sweep(
        dataset="mnist",
        protocol="released-decay",
        variants=("vanilla", "corr-0.1", "corr-1.0", "corr-1.0-cosine"),
    ),
    "mnist-cosine": Sweep(dataset="mnist", variants=("corr-1.0-cosine",)),
    "fashion_mnist-conv": Sweep(
        dataset="fashion_mnist",
        family="conv",
        sizes=("tiny", "small"),
        variants=("vanilla", "corr-0.1", "corr-1.0"),
        epochs=20,
    ),
} | {
    protocol.name: Sweep(
        dataset="mnist",
        protocol=protocol.name,
        variants=("vanilla", "corr-0.1", "corr-1.0"),
        seeds=5,
        epochs=2,
    )
    for protocol in (*ABLATION, *WITHOUT)
}
"""Name -> options of each sweep."""

MEASUREMENTS: dict[str, tuple[Sweep, Callable[..., xr.Dataset]]] = {
    "merging": (Sweep(dataset="mnist", sizes=("medium",)), merging.measure),
    "dropout-law": (
        Sweep(dataset="mnist", sizes=("medium",), variants=("vanilla",), epochs=20),
        dropout_law.measure,
    ),
}
"""Name -> options of the sweep whose networks are needed with their parameters, and what measures them."""

COMPARISONS = {
    "compare-mnist": Compare(datasets=("mnist",)),
    "compare-fashion_mnist": Compare(datasets=("fashion_mnist",)),
    "compare-conv": Compare(datasets=("fashion_mnist",), images=(2_000,), family="conv", steps=4_000),
}
"""Name -> options of each comparison of methods."""


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Train the reference run (about thirteen hours on two cores), and draw its figures and verdicts.
    Networks in the compact files are not trained again. Interrupted ones continue from their last checkpoint.
    """

    only: tuple[str, ...] = (*SWEEPS, *MEASUREMENTS, *COMPARISONS)
    """Sweeps, measurements and comparisons to run."""
    data_dir: str | None = None
    """Folder of prepared TFDS sets. Default: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    results: Path = Path("results/reproduced")
    """Folder for the sweeps' own folders."""
    out: Path = REFERENCE
    """Folder for the compact files, one for each sweep, and for the report about them."""
    comparison: Path = COMPARISON
    """Folder for the comparisons' files and for the page about them."""


def reproduce(name: str, options: Sweep, path: Path, console: Console) -> None:
    """Trains what a compact file lacks of a sweep; each cell is added to the file when it is done."""
    kept = split(compact.load(path)) if path.exists() else []
    done = {str(cell.cell.values): str(cell.configuration.values) for cell in kept}
    for cell in options.cells():
        if cell.name in done:
            check(f"{cell.name} in {path}", done[cell.name], cell)
        else:
            console.print(f"{name}: {cell.name}")
            folder = options.folder()
            train(options, (cell,), folder, console)
            trained = gather(folder, [cell.network])
            for identity in {str(one.dataset_version.values) for one in kept}:
                check_data(path, identity, str(trained.dataset_version.values[0]))
            if name != options.dataset:  # a scan or an ablation: nobody draws its matrices
                trained = trained.drop_dims(["unit", "other_unit"])
            kept += split(trained)
            compact.save(concatenate(kept), path)


def measure(
    name: str, options: Sweep, measured: Callable[..., xr.Dataset], path: Path, console: Console
) -> None:
    """Trains the networks of a measurement, and keeps what it says of them; nothing where that is kept."""
    grid, folder = options.cells(), options.folder()
    if measurements.is_done(path, grid):
        return
    console.print(f"{name}: {', '.join(cell.name for cell in grid)}")
    train(options, grid, folder, console)

    from experiments.run import host  # which brings JAX: --help need not wait for it

    host.configure()  # where nothing was left to train nobody has: a later sweep could not
    measurements.save(measured(folder, grid, load_data(options)), path, folder, grid)


def main() -> None:
    with explained():
        options, console = parse(Reproduce, "reproduce"), make_console()
        sweeps = SWEEPS | {name: sweep for name, (sweep, _) in MEASUREMENTS.items()}
        names = [*sweeps, *COMPARISONS]
        if unknown := sorted(set(options.only) - set(names)):
            raise ValueError(f"unknown sweep {unknown[0]!r}; the sweeps are {', '.join(names)}")
        options.out.mkdir(parents=True, exist_ok=True)
        for name in options.only:
            if name in COMPARISONS:
                mine = dataclasses.replace(
                    COMPARISONS[name], data_dir=options.data_dir, out=options.comparison
                )
                compare(mine, console)
                continue
            chosen = dataclasses.replace(sweeps[name], data_dir=options.data_dir, out=options.results / name)
            if name in MEASUREMENTS:
                path = options.out / NETWORKS / f"{name}.nc"
                measure(name, chosen, MEASUREMENTS[name][1], path, console)
            else:
                reproduce(name, chosen, options.out / f"{name}.nc", console)
        if (options.out / "mnist.nc").exists():
            page = write_reference(options.out, options.out, options.comparison)
            console.print(f"report: {page.resolve()}", soft_wrap=True)


if __name__ == "__main__":
    main()
