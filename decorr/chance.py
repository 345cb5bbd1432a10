"""The correlations that independent units show by chance over few samples. Plain Python."""

from typing import Any


def independent_penalty(m: float, d: int) -> float:
    """Returns the expected penalty P of d independent Gaussian units, for P computed over m samples.

    E[P] = (1 + (d-1)/(m-1)) / 2, because E[rho_ij^2] = 1/(m-1) for i != j. A P near this value is no evidence
    against independence, however large the value is.

        samples, units = a.size // a.shape[-1], a.shape[-1]
        excess = correlation_penalty(a) - independent_penalty(samples, units)

    Args:
      m: number of samples, at least 2. If samples depend on one another, like the positions of one image,
        give the effective number of samples, which may be a fraction. Samples with weights w have the
        effective number (sum w)^2 / sum w^2.
      d: number of units, at least 1.

    Returns:
      E[P]. The value is exact for Gaussian units, and for other units if the samples of each unit are
      exchangeable. With weights, the value is an approximation, somewhat too large if the weights are very
      unequal.

    Raises:
      ValueError: an m below 2 or infinite; a d below 1.
      TypeError: a d that is not whole; an m that is NaN.

    Source: the permutation moment of Pearson's correlation, E[rho^2] = 1/(m-1) (Pitman, 1937). Effective
      number of weighted samples: Kish (1965).
    """
    if d % 1 != 0 or m != m:  # d % 1 is NaN if d is NaN or infinite
        raise TypeError(f"d must be a whole number, and m a number; got m = {m}, d = {d}")
    if not 2 <= m < float("inf") or d < 1:
        raise ValueError(f"m must be finite and at least 2, and d at least 1; got m = {m}, d = {d}")
    return (1 + (d - 1) / (m - 1)) / 2


def debiased(r2: Any, n: Any) -> Any:
    """Subtracts what chance adds to r2, the mean squared correlation of units over n > 2 samples.

    The result is r2 - (1 - r2) / (n - 2).
    """
    return r2 - (1 - r2) / (n - 2)


def participation(r2: Any, d: Any) -> Any:
    """Returns the participation ratio d / (1 + (d - 1) r2) of d units.

    r2 is the mean squared correlation of the units. r2 and d are numbers, or arrays of any library. A
    negative r2, which debiasing can give, counts as 0.
    """
    return d / (1 + (d - 1) * (r2 + abs(r2)) / 2)
