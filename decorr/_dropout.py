"""Dropout whose rate may be traced, and its effect on correlations (Section 2.1 and beyond).

rate is the probability to drop an element; keep = 1 - rate is the paper's p.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from decorr._checks import check_floating, check_probability, check_scalar_probability
from decorr._samples import widen


def dropout(key: jax.Array, x: jax.typing.ArrayLike, rate: jax.typing.ArrayLike) -> jax.Array:
    """Drops each element with probability `rate` and scales the others by 1 / (1 - rate).

    y = r x / keep with r ~ Bernoulli(keep), so that E[y] = x (inverted scaling, as in the author's code).
    Unlike in `flax.linen.Dropout`, the rate may be traced: one compiled program serves every rate.

    Args:
      key: a JAX random key.
      x: activations of any shape, floating point.
      rate: probability to drop, a scalar in [0, 1]. The rate 1 gives all zeros.

    Returns:
      y, with the shape and dtype of `x`.

    Raises:
      TypeError: a dtype that is not real floating point.
      ValueError: a rate that is not a scalar or not in [0, 1]. A traced rate outside [0, 1] gives all NaN.

    Numerics:
      Most of the cost of dropout is drawing random bits. So the mask takes only 16 bits per element, half as
      many as a uniform number would take. The rate is therefore rounded to a multiple of 2^-16. A rate
      below 1 becomes at most 1 - 2^-16. The scale uses the rounded rate, so E[y] = x exactly. Half-precision
      inputs are scaled in float32.

    Source: Srivastava et al., Dropout (2014), with the scaling moved to training. Random bits: Salmon et
      al., Parallel random numbers: as easy as 1, 2, 3 (2011), Threefry-2x32 with 20 rounds, as in JAX.
    """
    x = check_floating(x, "the inputs of dropout")
    keep = 1 - check_scalar_probability(rate, "rate").astype(jnp.float32)
    # An element is kept if its half word is below `kept`. If keep > 0, `kept` is at least 1, because 0 would
    # make the scale infinite.
    kept = jnp.where(keep > 0, jnp.maximum(jnp.round(keep * 2**16), 1), 0)
    words = _words(jax.random.bits(key, (2,), jnp.uint32), -(-x.size // 4))  # four elements per block
    halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[: x.size]
    # The halves are compared as int32, because `kept` may be 2^16, which is more than a uint16 can hold.
    mask = halves.reshape(x.shape).astype(jnp.int32) < kept.astype(jnp.int32)
    wide = widen(x)
    scale = 2**16 / jnp.maximum(kept, 1).astype(wide.dtype)
    # If a traced rate is outside [0, 1], keep is NaN. Then no element is kept, and all elements become NaN.
    dropped = jnp.where(jnp.isnan(keep), jnp.nan, 0).astype(x.dtype)
    return jnp.where(mask, (wide * scale).astype(x.dtype), dropped)


# Jitted, because otherwise each call outside of `jit` would compile the loop again.
@functools.partial(jax.jit, static_argnums=1)
def _words(key: jax.Array, blocks: int) -> jax.Array:
    """Returns the random words that Threefry makes from the counters 0, 1, ..., two for each counter.

    The first words of all counters come before the second words.
    """

    def encrypt(counter: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _threefry(key, counter, jnp.zeros_like(counter))

    def at_once() -> tuple[jax.Array, jax.Array]:
        # Without the barrier, XLA may compute a word twice, once for each of its halves.
        first, second = jax.lax.optimization_barrier(encrypt(jnp.arange(blocks, dtype=jnp.uint32)))
        return first, second

    def in_two() -> tuple[jax.Array, jax.Array]:
        half = -(-blocks // 2)
        counters = jnp.arange(half, dtype=jnp.uint32)[None] + jnp.array([[0], [half]], jnp.uint32)
        first, second = jax.lax.map(encrypt, counters)
        return first.reshape(-1)[:blocks], second.reshape(-1)[:blocks]

    # On a CPU, XLA computes words twice despite the barrier, unless they come from a loop.
    return jnp.concatenate(jax.lax.platform_dependent(cpu=in_two, default=at_once))


def _threefry(key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Encrypts the counters x and y, elementwise, by Threefry-2x32 with 20 rounds.

    On a CPU, JAX's own Threefry is a loop, which would double the time of dropout.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x, y = x + keys[0], y + keys[1]
    for group in range(5):
        for rotation in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            x = x + y
            y = (y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation))
            y = y ^ x
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def dropout_estimator(rho: jax.typing.ArrayLike, rate: jax.typing.ArrayLike) -> jax.Array:
    """Predicts how dropout changes the unnormalised estimator of a correlation: the law of Section 2.1.

    E[sum_k r_i z_i^(k) r_j z_j^(k) / (m - 1)] = keep^2 rho_ij for i != j, where z are the z-scores before
    dropout. The masks r are not scaled by 1 / keep; with this scaling, the expectation is rho_ij itself. The
    estimator is not the correlation after dropout, which `dropout_correlation` gives. The estimator does not
    divide by the variances, which dropout lowers from 1 to 1 - rate.

    Args:
      rho: correlations of different units before dropout, any shape.
      rate: probability to drop, broadcastable to `rho`.

    Returns:
      The expected estimator, in the broadcast shape of the arguments.

    Raises:
      ValueError: a rate outside [0, 1]. If such a rate is traced, the result is NaN instead.

    Source: Simon, Section 2.1.
    """
    keep = 1 - check_probability(rate, "rate")
    return keep * keep * jnp.asarray(rho)


def dropout_correlation(
    rho: jax.typing.ArrayLike,
    rate: jax.typing.ArrayLike,
    ratio_i: jax.typing.ArrayLike = 0.0,
    ratio_j: jax.typing.ArrayLike = 0.0,
) -> jax.Array:
    """Predicts Pearson's correlation of two different units after dropout, for any means and variances.

    rho' = keep rho / sqrt((1 + rate mu_i^2/sigma_i^2) (1 + rate mu_j^2/sigma_j^2)). Dropout turns a unit's
    mean into variance, so units whose mean is far from zero lose more correlation. Z-scored units (mu = 0,
    the default) have rho' = keep rho. The scaling by 1 / keep does not change Pearson's correlation.

    Args:
      rho: correlations before dropout, any shape. For a matrix [unit, unit], give the ratios as r[:, None]
        and r[None, :], and ignore the diagonal.
      rate: probability to drop, in [0, 1]; at 1 every unit is constant, and rho' = 0.
      ratio_i, ratio_j: mean / standard deviation of unit i and of unit j before dropout.

    Returns:
      rho', in the broadcast shape of the arguments.

    Raises:
      ValueError: a rate outside [0, 1]. If such a rate is traced, the result is NaN instead.

    Source: the extension that Simon, Section 4, leaves to future work. With independent masks,
    Cov(r_i a_i, r_j a_j) = keep^2 Cov(a_i, a_j) and Var(r a) = keep sigma^2 + keep rate mu^2.
    """
    rate = check_probability(rate, "rate")
    spread_i = 1 + rate * jnp.square(jnp.asarray(ratio_i))
    spread_j = 1 + rate * jnp.square(jnp.asarray(ratio_j))
    return (1 - rate) * jnp.asarray(rho) / (jnp.sqrt(spread_i) * jnp.sqrt(spread_j))
