"""Measures all layers of a network for a log: maps each layer's name to the layer's metrics."""

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
    return jnp.mean(dormant_units(a, **stat), dtype=jnp.promote_types(jnp.result_type(a), jnp.float32))


METRICS: Mapping[str, Callable[..., jax.Array]] = {
    "effective_units": effective_units,
    "mean_square_correlation": mean_square_correlation,
    "dormant": _dormant,
}
"""The default metrics of `layer_report`. They need no eigenvalues, and share one matrix per layer."""


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

    Call it under `jit`. Outside of `jit`, each operation on each layer is compiled as a separate program.

    Args:
      activations: a PyTree with one array [..., unit] for each layer. If a scan has stacked the layers into
        one array [layer, ..., unit], its leading axis would count as samples: see `docs/recipes/scan.md`.
      metrics: a dict that maps names to functions. Each function takes one layer's activations and returns a
        scalar. Default: `decorr.diagnostics.report.METRICS`, which has `effective_units`,
        `mean_square_correlation`, and the share of units that are `dormant`. To add a metric: `{**METRICS,
        "rankme": functools.partial(effective_rank, power=1, kind="moment")}`.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`. Arguments that are not None are passed to every metric.

    Returns:
      A dict that maps each layer's name to a dict of its metrics. A metric may be NaN if its value is
      unknown.

    Raises:
      ValueError: two layers with the same name; a metric that is not a scalar. If a metric raises an error,
        the error names the layer and the metric.
      TypeError: metrics that are not a dict.

    Numerics:
      As in each metric. Under `jit`, metrics share the computations that they have in common. For each layer,
      the default metrics together compute one matrix product: the d x d or the m x m matrix, whichever is
      smaller. For comparison, a training step of a dense layer takes three matrix products. The participation
      ratio, `functools.partial(effective_rank, order=2, debias=True)`, needs a second matrix, which makes a
      report take about twice the time. So this ratio is not a default metric. `effective_units` is the same
      measure for correlations. Ranks that need eigenvalues take about min(m, d)^3 operations.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"metrics must map names to functions, like {{'rank': effective_rank}}; got {metrics!r}"
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
