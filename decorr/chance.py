"""The correlations that independent units show by chance over few samples. Plain Python."""

from typing import Any


def independent_penalty(m: float, d: int) -> float:
    """Returns the penalty P that d independent Gaussian units show on average over m samples.

    E[P] = (1 + (d-1)/(m-1)) / 2, because E[rho_ij^2] = 1/(m-1) for i != j. A P near this value is not
    evidence against independence, however large it is.

    Args:
      m: number of samples, at least 2. If samples depend on one another, like the positions of one image,
        give the effective number, which need not be whole. For weighted samples it is (sum w)^2 / sum w^2.
      d: number of units, at least 1.

    Returns:
      E[P]. Exact for Gaussian units, and whenever the samples of every unit are exchangeable. With weights it
      is an approximation, somewhat too large if the weights are very unequal.

    Raises:
      ValueError: m < 2, or infinite, or d < 1.
      TypeError: d that is not whole, m that is NaN.

    Source: the permutation moment of Pearson's correlation, E[rho^2] = 1/(m-1) (Pitman, 1937). Effective
      number of weighted samples: Kish (1965).
    """
    if d % 1 != 0 or m != m:  # also for NaN and infinity, whose remainder is NaN
        raise TypeError(f"d must be a whole number, and m a number; got m = {m}, d = {d}")
    if not 2 <= m < float("inf") or d < 1:
        raise ValueError(f"m must be at least 2 samples and finite, d at least 1 unit; got m = {m}, d = {d}")
    return (1 + (d - 1) / (m - 1)) / 2


def debiased(r2: Any, n: Any) -> Any:
    """Subtracts what chance adds to a mean square r2 of correlations over n > 2 samples.

    The result is r2 - (1 - r2) / (n - 2).
    """
    return r2 - (1 - r2) / (n - 2)


def participation(r2: Any, d: Any) -> Any:
    """The participation ratio d / (1 + (d - 1) r2) of d units.

    r2 is the mean squared correlation of the units. r2 and d are numbers, or arrays of any library. A
    negative r2, which debiasing can give, counts as 0.
    """
    return d / (1 + (d - 1) * (r2 + abs(r2)) / 2)
