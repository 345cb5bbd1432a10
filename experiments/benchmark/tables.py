"""Makes tables from the rows of the benchmark."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table

Row = dict[str, Any]


def _number(value: float) -> str:
    return f"{value:.3g}"


def _median(row: Row) -> str:
    return _number(statistics.median(row["milliseconds"]))


def _family(row: Row) -> str:
    return row.get("family", "mlp")  # older files have no family: all their networks are mlp


def _given(name: str, factor: float = 1) -> Callable[[Row], str]:
    return lambda row: _number(factor * row[name]) if name in row else ""


# Maps each section to its title and columns. The columns map each header to a function of a row.
SECTIONS: dict[str, tuple[str, dict[str, Callable[[Row], str]]]] = {
    "training": (
        "training: ms per training step of a network on the whole machine, and times slower than decorr",
        {
            "family": _family,
            "network": lambda row: f"{row['size']}-{row['variant']}",
            "trainer": lambda row: row["layout"],
            "ms": _median,
            "network-steps/s": lambda row: f"{1e3 / statistics.median(row['milliseconds']):,.0f}",
            "times slower": _given("times_slower"),
        },
    ),
    "overhead": (
        "overhead: time of a training step of the sweep's engine, divided by that of vanilla",
        {"network": lambda row: f"{row['size']}-{row['variant']}", "ratio": _given("ratio")},
    ),
    "penalty": (
        "ms to compute P and dP/da, and how many times slower than decorr",
        {
            "(m, d)": lambda row: f"({row['m']}, {row['d']}) {row['dtype']}",
            "implementation": lambda row: {
                "ours": "decorr",
                "plain": "JAX, d x d",
                "torch_plain": "PyTorch, d x d",
                "floor": "two products",
            }[row["implementation"]],
            "ms": _median,
            "times slower": _given("times_slower"),
            "MiB": _given("mebibytes"),
            "error of P": _given("error"),
            "error of dP/da": _given("gradient_error"),
        },
    ),
    "diagnostics": (
        "diagnostics, and ten training steps with and without layer_report; ratios to each group's first row",
        {
            "what": lambda row: row.get("measure", f"training, {row.get('size')}"),
            "(m, d)": lambda row: f"({row['m']}, {row['d']})" if "m" in row else "",
            "implementation": lambda row: row["implementation"].replace("ours", "decorr"),
            "ms": _median,
            "times the first": _given("times_first"),
        },
    ),
    "startup": (
        "start-up of python -m experiments.sweep",
        {"what": lambda row: row["what"], "seconds": _given("seconds")},
    ),
    "scaling": (
        "scaling: ms per training step of a network on the whole machine, corr-0.1",
        {
            "size": lambda row: row["size"],
            "devices": lambda row: str(row["devices"]),
            "networks per program": lambda row: str(row["networks"]),
            "ms": _median,
        },
    ),
    "roofline": (
        "roofline, a PREDICTION for GPUs: us per training step of a network, and s for 100 epochs of MNIST",
        {
            "device": lambda row: row["device"],
            "network": lambda row: row["network"],
            "networks per program": lambda row: str(row["networks"]),
            "compute": _given("compute", 1e6),
            "with tensorfloat32": _given("tensorfloat32", 1e6),
            "memory": _given("memory", 1e6),
            "launches": _given("launches", 1e6),
            "limited by": lambda row: row.get("binds", ""),
            "limited by launches below": lambda row: str(row.get("enough", "")),
            "s": _given("seconds"),
        },
    ),
}


def table(section: str, rows: Sequence[Row]) -> Table:
    """Returns the table of a section. The caption gives the reasons for missing measurements."""
    title, columns = SECTIONS[section]
    notes = [
        f"{row['trainer']} ({_family(row)}, {row['size']}) {row['note']}" for row in rows if "note" in row
    ]
    made = Table(title=title, title_justify="left", caption="\n".join(notes), caption_justify="left")
    for i, header in enumerate(columns):
        made.add_column(header, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        if "note" not in row:
            made.add_row(*(cell(row) for cell in columns.values()))
    return made
