"""The reference run: every sweep that the report of the paper rests on. `python -m experiments.reproduce`."""

import dataclasses
import json
from pathlib import Path

from rich.console import Console

from experiments.command import explained, make_console, parse
from experiments.paper.protocols import ABLATION, WITHOUT
from experiments.paper.report import REFERENCE, write_reference
from experiments.store import compact
from experiments.store.configuration import differences
from experiments.store.errors import ResultsError
from experiments.store.sweep import concatenate, gather, split
from experiments.sweep import Sweep, train

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


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Train the reference run, about nine hours on two cores, keep what figures and verdicts need of it, and
    draw them. Networks in the compact files are not trained again; what was interrupted goes on where it was.
    """

    only: tuple[str, ...] = tuple(SWEEPS)
    """Which sweeps."""
    data_dir: Path | None = None
    """Folder of prepared TFDS sets. Default: TFDS's own, $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    results: Path = Path("results/reproduced")
    """Folder of the sweeps' folders."""
    out: Path = REFERENCE
    """Folder of the compact files, one a sweep, and of the report on them."""


def reproduce(name: str, options: Sweep, path: Path, console: Console) -> None:
    """Trains what a compact file lacks of a sweep; each cell is added to the file when it is done."""
    kept = split(compact.load(path)) if path.exists() else []
    done = {str(cell.cell.values): json.loads(str(cell.configuration.values)) for cell in kept}
    for cell in options.cells():
        if cell.name not in done:
            console.print(f"{name}: {cell.name}")
            folder = options.folder()
            train(options, (cell,), folder, console)
            trained = gather(folder, [cell.network])
            if name != options.dataset:  # a scan or an ablation: nobody draws its matrices
                trained = trained.drop_dims(["unit", "other_unit"])
            kept += split(trained)
            compact.save(concatenate(kept), path)
        elif different := differences(done[cell.name], cell):
            raise ResultsError(
                f"{cell.name} in {path} was made with other options ({different}): "
                "give the same ones, or another --out"
            )


def main() -> None:
    with explained():
        options, console = parse(Reproduce, "reproduce"), make_console()
        if unknown := sorted(set(options.only) - set(SWEEPS)):
            raise ValueError(f"unknown sweep {unknown[0]!r}; the sweeps are {', '.join(SWEEPS)}")
        options.out.mkdir(parents=True, exist_ok=True)
        for name in options.only:
            chosen = dataclasses.replace(SWEEPS[name], data_dir=options.data_dir, out=options.results / name)
            reproduce(name, chosen, options.out / f"{name}.nc", console)
        if (options.out / "mnist.nc").exists():
            page = write_reference(options.out, options.out)
            console.print(f"report: {page.resolve()}", soft_wrap=True)


if __name__ == "__main__":
    main()
