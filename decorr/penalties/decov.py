"""DeCov (Cogswell et al., 2015)."""

import jax

from decorr._samples import AxisName
from decorr.penalties.pairs import pair_penalty


@jax.named_scope("decorr.decov_loss")
def decov_loss(
    a: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Returns the DeCov loss: half the sum of the squared covariances between different units.

    L = 1/2 (||C||_F^2 - ||diag C||_2^2), C = sum_k (a^(k) - mean) (a^(k) - mean)^T / m, the biased
    covariance. L becomes small if the activations become small, but `correlation_penalty` does not.

        loss = nll + 0.1 * decov_loss(a)  # of the last hidden layer

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`.

    Returns:
      L, a scalar; float32 for half-precision input, else the dtype of `a`. For units z-scored by their biased
      standard deviations, L is d (P - 1/2), where P is `correlation_penalty`.

    Raises:
      ValueError, TypeError: as in `pair_penalty`.

    Numerics:
      As in `pair_penalty`: L is half of that penalty with kind="covariance", normalise="sum", ddof=0.

    Source: Cogswell et al., Reducing Overfitting in Deep Networks by Decorrelating Representations
      (arXiv:1511.06068), Equation 1; Chainer's `decov` gives the same loss.
    """
    loss = pair_penalty(
        a, kind="covariance", normalise="sum", ddof=0, where=where, weights=weights, axis_name=axis_name
    )
    return loss / 2
