"""Measures all layers of a network for a log: the metrics of each layer, by the layer's name."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from decorr._samples import AxisName
from decorr.diagnostics.dormancy import dormant_units
from decorr.diagnostics.effective import effective_units, mean_square_correlation
from decorr.layers import layers_by_name, scalar_of


def _dormant(a: jax.Array, **stat: Any) -> jax.Array:
    return jnp.mean(dormant_units(a, **stat), dtype=jnp.promote_types(a.dtype, jnp.float32))


METRICS: Mapping[str, Callable[..., jax.Array]] = {
    "effective_units": effective_units,
    "mean_square_correlation": mean_square_correlation,
    "dormant": _dormant,
}
"""The default metrics of `layer_report`. They need no eigenvalues, and together only one matrix per layer."""


def layer_report(
    activations: Any,
    metrics: Mapping[str, Callable[..., jax.Array]] = METRICS,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> dict[str, dict[str, jax.Array]]:
    """Measures all layers of a network at once, for a log.

    report[layer][metric] = metrics[metric](activations of the layer), a scalar. A layer's name is its path in
    the PyTree, as in `layer_penalties`.

        report = layer_report(activations)
        flat = {f"{layer}/{name}": x for layer, metrics in report.items() for name, x in metrics.items()}

    Call it under `jit`. Outside of `jit`, every operation of every layer is compiled as a program of its own.

    Args:
      activations: a PyTree with one array [..., unit] for each layer. If a scan has stacked the layers into
        one array [layer, ..., unit], its leading axis would count as samples: see `docs/recipes/scan.md`.
      metrics: a dict of functions by name. Each takes one layer's activations and gives a scalar. Default:
        `decorr.diagnostics.report.METRICS`, which has `effective_units`, `mean_square_correlation`, and the
        share of units that are `dormant`. To add a metric: `{**METRICS, "rankme":
        functools.partial(effective_rank, power=1, kind="moment")}`.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`. Those that you give are passed to every metric.

    Returns:
      A dict of dicts: each layer's metrics, by the layer's name. A metric may be NaN where it is unknown.

    Raises:
      ValueError: two layers with the same name; a metric that is not a scalar. If a metric raises an error,
        the error names the layer and the metric.
      TypeError: metrics that are not a dict by name.

    Numerics:
      As in the metrics. Under `jit`, metrics share the computations that they have in common. The default
      metrics together take one matrix product for each layer, which gives the smaller of the d x d and m x m
      matrices. For comparison, a training step of a dense layer takes three products with the layer's kernel.
      The participation ratio, `functools.partial(effective_rank, order=2, debias=True)`, takes a second
      matrix, and a report with it takes about twice the time. So it is not a default metric.
      `effective_units` is the same measure for correlations. Ranks by eigenvalues take min(m, d)^3
      operations.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"metrics must be a dict of functions by name, like {{'rank': effective_rank}}; got {metrics!r}"
        )
    given = {"where": where, "weights": weights, "axis_name": axis_name}
    given = {name: value for name, value in given.items() if value is not None}
    return {
        layer: {
            name: scalar_of(functools.partial(metric, **given), a, f"layer {layer}, {name}", "a metric")
            for name, metric in metrics.items()
        }
        for layer, a in layers_by_name(activations).items()
    }
