"""The correlation regulariser P of Section 3.1, its closed-form gradient, and that gradient's terms."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from decorr._mesh import over_mesh
from decorr._samples import AxisName, as_samples
from decorr.penalties._gram import Form, GradientTerms, pair_sum_and_terms
from decorr.penalties.pairs import pair_penalty


@jax.named_scope("decorr.correlation_penalty")
def correlation_penalty(
    a: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Penalises redundant units of a layer: the normalised sum of their squared correlations.

    P = 1/(2d) sum_ij rho_ij^2 (Section 3.1), the diagonal included. P is 1/2 if all units are uncorrelated,
    and d/2 if all are alike. Over m samples, even independent units have P > 1/2 on average: see
    `independent_penalty`. Add `weight * correlation_penalty(a)` for each layer to your loss, and begin with
    the weight 0.002. The paper's weights 0.1 and 1.0 correspond to 0.002 and 0.02 here, because the author's
    code divides the gradient by the 50 samples of a minibatch.

        hidden = activations.values()  # one array [..., unit] for each hidden layer
        loss = nll + 0.002 * sum(correlation_penalty(layer) for layer in hidden)

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`.

    Returns:
      P, a scalar; float32 for half-precision input, else the dtype of `a`.

    Raises:
      ValueError: fewer than two dimensions or samples, or no unit.
      TypeError: a dtype that is not real floating point.

    Numerics:
      As in `pair_penalty` with the diagonal. P does not change when a unit is shifted, scaled or negated. A
      constant unit (see `zscore`) has rho = 0 with every unit, even with itself, and gradient 0. The constant
      unit still counts in d. If a value is NaN or infinite, P is NaN.

    Source: Simon, Decorrelating Neural Network Activations, Section 3.1.
    """
    return pair_penalty(a, diagonal=True, where=where, weights=weights, axis_name=axis_name)


def penalty_gradient(
    a: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Computes the gradient dP/da of `correlation_penalty` by the paper's closed form.

    dP/da_l^(k) = 2 / (d (m-1) sigma_l) sum_i rho_il (z_i^(k) - z_l^(k) rho_il) (Section 3.1). The gradient is
    large if sample k is unusual in the same way for unit l and for the units correlated with l. With sample
    weights w, the gradient is multiplied by w_k, and V1 - V2 / V1 (as in `pair_penalty`) replaces m - 1.

    Args:
      a: activations [..., unit], floating point.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`.

    Returns:
      dP/da, with the shape and dtype of `a`, in units of 1 / a. It equals `jax.grad(correlation_penalty)(a)`,
      and is 0 for invalid samples.

    Raises:
      ValueError, TypeError: as in `correlation_penalty`.

    Numerics:
      As in `correlation_penalty`. The gradient is exactly 0 for a constant unit. For the other units, the
      gradient grows like 1 / sigma_l. So a half-precision gradient overflows for units that vary by less than
      about 1e-5.

    Source: Simon, Section 3.1.
    """
    arrays = (jnp.asarray(a), where, weights)
    return over_mesh(_penalty_gradient, arrays, axis_name, specs=lambda spec: spec)


def gradient_terms(
    a: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> GradientTerms:
    """Returns the three terms of the penalty's gradient in Section 3.1: dP/da = A * (B - C).

    - A_l = 2 / (d (m-1) sigma_l): small for a unit that varies a lot.
    - B_l^(k) = sum_i z_i^(k) rho_il: large if sample k is unusual in the same way for many units that are
      correlated with l.
    - C_l^(k) = z_l^(k) sum_i rho_il^2: large if l is correlated with many units, and sample k is unusual for
      l.

    Args:
      a: activations [..., unit], floating point.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`. With weights, B and C are multiplied by each sample's weight, and V1 - V2 / V1
        replaces m - 1 in A.

    Returns:
      GradientTerms(A, B, C), with A [unit] in units of 1 / a, and B and C [..., unit] dimensionless; float32
      for half-precision input.

    Raises:
      ValueError, TypeError: as in `correlation_penalty`.

    Numerics:
      As in `correlation_penalty`. A, B and C are 0 for a constant unit, where 1 / sigma_l is undefined.

    Source: Simon, Section 3.1.
    """
    specs = lambda spec: GradientTerms._make((PartitionSpec(spec[-1]), spec, spec))  # noqa: E731
    return over_mesh(_gradient_terms, (jnp.asarray(a), where, weights), axis_name, specs=specs)


def _penalty_gradient(axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> jax.Array:
    A, B, C = _gradient_terms(axis_name, a, *stat)
    return (jnp.broadcast_to(A, a.shape) * (B - C)).astype(a.dtype)


def _gradient_terms(axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> GradientTerms:
    samples = as_samples(axis_name, a, *stat)
    form = Form("correlation", diagonal=True, scale=1 / (2 * a.shape[-1]))
    A, B, C = pair_sum_and_terms(form, samples)[1]
    return GradientTerms(A, samples.weighted(B).reshape(a.shape), samples.weighted(C).reshape(a.shape))
