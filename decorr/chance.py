"""What units show by chance: correlations of independent units over few samples. Plain Python."""


def independent_penalty(m: int, d: int) -> float:
    """The expected penalty of d independent Gaussian units over m samples: the floor of P.

    E[P] = (1 + (d-1)/(m-1)) / 2, since E[rho_ij^2] = 1/(m-1) for i != j. A minibatch whose P is near
    this value says nothing against independence, however large P is.

    Args:
      m: number of samples, at least 2.
      d: number of units, at least 1.

    Returns:
      E[P]. Exact for Gaussian units, and whenever the samples of every unit are exchangeable.

    Raises:
      ValueError: m < 2 or d < 1.
      TypeError: numbers that are not whole.

    Source: the permutation moment of Pearson's correlation, E[rho^2] = 1/(m-1) (Pitman, 1937).
    """
    if m % 1 != 0 or d % 1 != 0:  # NaN and infinity too: their remainder is NaN
        raise TypeError(f"samples and units are whole numbers; got m = {m}, d = {d}")
    if m < 2 or d < 1:
        raise ValueError(f"the penalty needs m >= 2 samples and d >= 1 units; got m = {m}, d = {d}")
    return (1 + (d - 1) / (m - 1)) / 2
