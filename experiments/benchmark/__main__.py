"""Runs the benchmark; `python -m experiments.benchmark --help` lists its options."""

import dataclasses
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import jax
from rich.console import Console

from experiments.benchmark import diagnostics, penalty, plot, roofline, startup, tables, training
from experiments.benchmark.workers import Group, Work, together
from experiments.command import explained, make_console, parse
from experiments.disk.files import check_folder
from experiments.grid.networks import Family, Size, Variant
from experiments.page.drawing import write_text
from experiments.run.machine import processors
from experiments.store.provenance import version_of

Section = Literal["training", "overhead", "penalty", "diagnostics", "startup", "scaling", "roofline"]


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Measure the speed of training, of the penalty, of diagnostics and of start-up, and how training scales.
    Training is compared with PyTorch, Flax, Equinox and Keras. Run nothing else on the machine meanwhile."""

    sections: tuple[Section, ...] = ("training", "overhead", "penalty", "diagnostics", "startup", "scaling")
    """Sections to measure. The section roofline measures nothing: it predicts the speed on GPUs."""
    families: tuple[Family, ...] = ("mlp", "conv")
    """Kinds of networks that the section `training` measures. Other sections use the paper's kind, mlp."""
    sizes: tuple[Size, ...] = ("tiny", "huge")
    """Network sizes. Inputs and classes are as in MNIST."""
    variants: tuple[str, ...] = ("vanilla", "drop", "corr-0.1")
    """Network variants, as in a sweep."""
    repeats: int = 7
    """Number of repeats. All implementations take turns in each repeat, and tables show medians over the
    repeats."""
    out: Path = Path("results/benchmark.json")
    """File for all measurements, including those of each repeat. The plot of scaling is written beside it, as
    .svg."""

    def __post_init__(self) -> None:
        for name in self.variants:
            Variant.parse(name)
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1; got {self.repeats}")


_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "equinox", "keras", "reptrix", "anatome")


def describe_device() -> Work:
    """Describes the device. A worker calls this, so that the command itself reserves no accelerator."""
    device = jax.devices()[0]
    return lambda: None, {
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count() if device.platform != "cpu" else processors(),
    }


def machine() -> dict[str, Any]:
    """Describes the machine and the package versions, on which the numbers depend."""
    with Group("experiments.benchmark.__main__:describe_device", together()) as group:
        (device,) = group.reports()
    return device | {
        "processor": _processor(),
        "cores": processors(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in _PACKAGES},
        "settings": {name: os.environ[name] for name in ("XLA_FLAGS", "JAX_PLATFORMS") if name in os.environ},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def run(options: Benchmark, console: Console) -> None:
    """Measures one section after another. Stores each row at once, and prints each section's table."""

    def say(line: str) -> None:
        console.print(line, style="dim")

    check_folder(options.out.parent)
    if options.out.is_dir():
        raise ValueError(f"{options.out} is a folder: give a file")
    found: dict[str, Any] = {"machine": machine()}
    kind, devices = found["machine"]["platform"], found["machine"]["devices"]
    repeats, sizes, variants = options.repeats, options.sizes, options.variants
    sections = {
        "training": lambda: training.measure(kind, options.families, sizes, variants, repeats, say),
        "overhead": lambda: training.overhead(kind, sizes, variants, repeats),
        "penalty": lambda: penalty.measure(kind, repeats, say),
        "diagnostics": lambda: diagnostics.measure(repeats, sizes, say),
        "startup": startup.measure,
        "scaling": lambda: training.scaling(kind, devices, sizes, repeats, say),
        "roofline": lambda: roofline.rows(sizes),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for section in options.sections:
        found[section] = []
        for row in sections[section]():
            found[section].append(row)
            write_text(options.out, json.dumps(found, indent=1) + "\n")
        console.print(tables.table(section, found[section]))
        if section == "scaling":
            plot.draw(found[section], found["machine"], options.out.with_suffix(".svg"))
    console.print(f"results: {options.out.resolve()}", soft_wrap=True)


if __name__ == "__main__":
    with explained():
        run(parse(Benchmark, "benchmark"), make_console())
