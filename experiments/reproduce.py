"""The reference run: every sweep that the report of the paper rests on. `python -m experiments.reproduce`."""

import dataclasses
from pathlib import Path

import tyro
from rich.console import Console

from decorr.config import ABLATION
from experiments import compact
from experiments.report import REFERENCE
from experiments.sweep import Sweep, sweep

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
    "fashion_mnist": Sweep(dataset="fashion_mnist", seeds=5),
} | {
    protocol.name: Sweep(
        dataset="mnist",
        protocol=protocol.name,
        variants=("vanilla", "corr-0.1", "corr-1.0"),
        seeds=5,
        epochs=2,
    )
    for protocol in ABLATION
}
"""Name -> options of each sweep."""


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Train the reference run, about five hours on two cores, and keep what figures and verdicts need of
    it. What is done is skipped; what was interrupted goes on where it was."""

    only: tuple[str, ...] = tuple(SWEEPS)
    """Which sweeps."""
    data_dir: Path | None = None
    """Folder of prepared TFDS sets. Default: TFDS's own, $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    results: Path = Path("results/reproduced")
    """Folder of the sweeps' folders."""
    out: Path = REFERENCE
    """Folder of the compact files, one a sweep."""


def main() -> None:
    options = tyro.cli(Reproduce, prog="python -m experiments.reproduce")
    if unknown := sorted(set(options.only) - set(SWEEPS)):
        raise SystemExit(f"error: unknown sweep {unknown[0]!r}; the sweeps are {', '.join(SWEEPS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        folder = options.results / name
        print(f"== {name}", flush=True)
        try:
            sweep(
                dataclasses.replace(SWEEPS[name], data_dir=options.data_dir, out=folder), Console(width=140)
            )
        finally:  # of an interrupted sweep, the cells that are done
            if any(folder.glob("*.nc")):
                compact.save(compact.load(folder), options.out / f"{name}.nc")


if __name__ == "__main__":
    main()
