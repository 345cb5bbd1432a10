"""Measures how long training takes: with the sweep's engine or an alternative, with each regulariser, and
with more devices or networks.

A network-step is a training step of one network.
"""

import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmark import task
from experiments.benchmark.workers import Group, interleaved, median_ratio, separate, together
from experiments.grid.networks import Family, Size, Variant
from experiments.grid.protocols import RELEASED
from experiments.run.machine import processors

Layout = Sequence[Sequence[int]]

TRIED = "corr-0.1"
"""The variant that is timed to choose each peer's layout, and to measure scaling."""

_JAX, _TORCH, _NNX, _EQUINOX, _KERAS = (
    f"experiments.benchmark.{name}_trainers:" for name in ("jax", "torch", "nnx", "equinox", "keras")
)


class Setting(NamedTuple):
    """What all trainers train, on which platform, and how often the training is timed."""

    platform: str
    family: Family
    size: Size
    variants: Sequence[str]
    repeats: int


class Trainer(NamedTuple):
    """A way to train. Each candidate is a layout of the trainer's processes, with arguments for `build`.
    Only the fastest candidate is measured."""

    name: str
    build: str
    candidates: tuple[tuple[Layout, dict[str, Any]], ...]
    needs: str | None = None
    """A package that the trainer needs; the extra `bench` installs it."""


def engine_trainer(platform: str, family: Family) -> Trainer:
    """Returns the sweep's engine. On a CPU, the engine has a process on each core. `networks` is the number
    of networks that each device trains."""
    layout = separate() if platform == "cpu" else together()
    networks = {"mlp": 8, "conv": 2}[family] if platform == "cpu" else 256
    return Trainer("decorr", _JAX + "sweep_engine", ((layout, {"family": family, "networks": networks}),))


def peers(platform: str, family: Family) -> tuple[Trainer, ...]:
    """Returns the alternatives to the sweep's engine."""
    layouts = (separate(), together()) if platform == "cpu" and processors() > 1 else (together(),)

    def peer(
        name: str, build: str, needs: str | None = None, networks: Sequence[int] = (), **arguments: Any
    ) -> Trainer:
        """Returns a trainer of one network at a time. If `networks` lists numbers, each is tried as the
        number of networks that are trained at once."""
        variants = [{"networks": width} for width in networks] or [{}]
        candidates = ((layout, width | arguments) for layout, width in itertools.product(layouts, variants))
        return Trainer(name, build, tuple(candidates), needs)

    widths = {"mlp": (1, 4, 16, 64), "conv": (1, 4)}[family]
    torch: dict[str, Any] = {"needs": "torch", "family": family}
    any_family = (
        peer("PyTorch loop", _TORCH + "loop", **torch, compile=False),
        peer("PyTorch loop, torch.compile", _TORCH + "loop", **torch, compile=True),
        peer("torch.func ensemble", _TORCH + "ensemble", networks=widths, **torch, compile=False),
        peer(
            "torch.func ensemble, torch.compile", _TORCH + "ensemble", networks=widths, **torch, compile=True
        ),
        peer("Flax + optax loop", _JAX + "flax_loop", family=family),
    )
    if family == "conv":
        return any_family
    return (
        *any_family,
        peer("Flax NNX ensemble", _NNX + "ensemble", networks=(1, 4, 16)),
        peer("Equinox ensemble", _EQUINOX + "ensemble", "equinox", networks=(1, 4, 16)),
        peer("Keras fit", _KERAS + "fit", "keras"),
    )


def measure(
    platform: str,
    families: Sequence[Family],
    sizes: Sequence[Size],
    variants: Sequence[str],
    repeats: int,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Measures the time of a network-step on the whole machine, for decorr and its alternatives."""
    for family, size in itertools.product(families, sizes):
        for row in _rows(Setting(platform, family, size, variants, repeats), say):
            yield {"family": family, "size": size} | row


def _rows(setting: Setting, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    family, size = setting.family, setting.size
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "task.npz")
        make = {"path": path, "family": family, "size": size}
        with Group("experiments.benchmark.task:make", together(), **make) as group:
            group.reports()
        chosen = [engine_trainer(setting.platform, family)]
        for peer in peers(setting.platform, family):
            if peer.needs and not find_spec(peer.needs):
                yield {"trainer": peer.name, "note": 'not measured: pip install -e ".[bench]" in the clone'}
            else:
                chosen.append(_fastest(peer, path, size, lambda line: say(f"{family} {line}")))
        for variant in setting.variants:
            say(f"{family} {size} {variant}: {setting.repeats} repeats")
            yield from _side_by_side(chosen, path, setting, variant)


def _started(trainer: Trainer, path: str, size: Size, variant: str) -> Group:
    (layout, arguments) = trainer.candidates[0]
    if trainer.name != "decorr":  # decorr makes its own parameters and minibatches
        arguments = arguments | {"path": path}
    return Group(trainer.build, layout, size=size, variant=variant, **arguments)


def _fastest(peer: Trainer, path: str, size: Size, say: Callable[[str], None]) -> Trainer:
    """Returns the peer with only its fastest candidate."""
    if len(peer.candidates) == 1:
        return peer
    measured = []
    for layout, arguments in peer.candidates:
        candidate = peer._replace(candidates=((layout, arguments),))
        with _started(candidate, path, size, TRIED) as group:
            steps = sum(report["steps"] for report in group.reports())
            seconds = statistics.median(group.seconds() for _ in range(3))
        say(f"{size} {TRIED}, {_described(candidate)}: {1e3 * seconds / steps:.3f} ms per network-step")
        measured.append((seconds / steps, candidate))
    return min(measured, key=lambda pair: pair[0])[1]


def _described(trainer: Trainer) -> str:
    ((layout, arguments),) = trainer.candidates
    networks = f", {arguments['networks']} networks" if "networks" in arguments else ""
    return f"{trainer.name}: {len(layout)} process(es) x {len(layout[0])} thread(s){networks}"


def _side_by_side(
    trainers: Sequence[Trainer], path: str, setting: Setting, variant: str
) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        groups = {
            trainer.name: stack.enter_context(_started(trainer, path, setting.size, variant))
            for trainer in trainers
        }
        groups["floor"] = stack.enter_context(Group(_JAX + "matrix_product", together()))
        reports = {name: group.reports() for name, group in groups.items()}
        steps = {name: sum(report["steps"] for report in group) for name, group in reports.items()}
        steps["floor"] /= task.multiply_adds(setting.family, setting.size, variant)
        for name, (report, *_) in reports.items():
            if name != "floor":
                _agree(name, report["nll"], reports["decorr"][0]["nll"], variant)
        times = interleaved(groups, setting.repeats)
    descriptions = {trainer.name: _described(trainer) for trainer in trainers}
    for name in groups:
        yield {
            "variant": variant,
            "trainer": name,
            "layout": descriptions.get(name, "multiply-adds at the rate of a matrix product"),
            "milliseconds": [1e3 * seconds / steps[name] for seconds in times[name]],
            "times_slower": median_ratio(times[name], times["decorr"]) * steps["decorr"] / steps[name],
        }


def _agree(name: str, nll: Sequence[float], expected: Sequence[float], variant: str) -> None:
    """Raises RuntimeError unless a trainer's networks reach decorr's losses within 0.2%, or within 5% if the
    variant has dropout."""
    tolerance = 0.05 if Variant.parse(variant).regulariser(RELEASED).dropout_rate else 2e-3
    for network, (value, wanted) in enumerate(zip(nll, expected, strict=False)):
        if not abs(value - wanted) <= tolerance * wanted:
            raise RuntimeError(
                f"{name} does not train like decorr: network {network} has nll {value}, not {wanted}"
            )


def overhead(
    platform: str, sizes: Sequence[Size], variants: Sequence[str], repeats: int
) -> Iterator[dict[str, Any]]:
    """Measures the time of a training step with each variant, divided by the time with vanilla."""
    trainer = engine_trainer(platform, "mlp")
    for size in sizes:
        with ExitStack() as stack:
            groups = {
                variant: stack.enter_context(_started(trainer, "", size, variant))
                for variant in dict.fromkeys(("vanilla", *variants))
            }
            for group in groups.values():
                group.reports()
            times = interleaved(groups, repeats)
        for variant in times:
            yield {"size": size, "variant": variant, "ratio": median_ratio(times[variant], times["vanilla"])}


def scaling(
    platform: str, devices: int, sizes: Sequence[Size], repeats: int, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Measures the time of a network-step for several numbers of devices, and for several numbers of networks
    in a program. On a CPU, a device is a core with its own process."""
    counts = [2**i for i in range(devices.bit_length()) if 2**i <= devices]
    widths = (1, 2, 4, 8, 16, 64) if platform == "cpu" else (1, 4, 16, 64, 256, 1024)
    for size in sizes:
        say(f"scaling of {size}")
        for width in widths:
            with ExitStack() as stack:
                groups = {
                    str(count): stack.enter_context(
                        Group(
                            _JAX + "sweep_engine",
                            separate()[:count] if platform == "cpu" else together(),
                            family="mlp",
                            size=size,
                            variant=TRIED,
                            networks=width,
                            devices=1 if platform == "cpu" else count,
                            lanes=width,
                        )
                    )
                    for count in counts
                }
                steps = {
                    count: sum(report["steps"] for report in group.reports())
                    for count, group in groups.items()
                }
                times = interleaved(groups, repeats)
            for count, seconds in times.items():
                yield {
                    "size": size,
                    "devices": int(count),
                    "networks": width,
                    "milliseconds": [1e3 * second / steps[count] for second in seconds],
                }
