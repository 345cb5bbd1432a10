"""Judges the paper's two mathematical sentences by simulation, without a network."""

import functools

import numpy as np

from experiments.statistics.verdicts import Quantity, Verdict, always, equal


@functools.cache
def c1() -> Verdict:
    """Judges C1, the law of dropout (Section 2.1), on 400 samples of 1,000 z-scored Gaussian pairs."""
    comparisons, ratio = [], Quantity("correlation after dropout / before")
    for keep in (0.5, 0.7):
        estimator, pearson = _correlations_after_dropout(0.6, keep)
        comparisons += [
            equal(f"{name} / before = p^2 = {keep**2:.2f} ± 0.01", values, keep**2, 0.01, ratio)
            for name, values in (("estimator", estimator), ("Pearson", pearson))
        ]
    fall = ", ".join(f"{pearson.interval.estimate:.3f}" for pearson in comparisons[1::2])
    return Verdict(
        "C1",
        "2.1",
        "E[rho'] = p^2 E[rho]: dropout with keep probability p multiplies the expected correlation of "
        "z-scored units by p^2.",
        tuple(comparisons),
        "This holds for the estimator of Section 2.1, which does not divide by the variances. Pearson's "
        f"correlation, which the figures show, is multiplied by p only ({fall}), because dropout also "
        "multiplies every unit's variance by p.",
        of="samples",
    )


def _correlations_after_dropout(rho: float, keep: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns two ratios [sample]: the estimator and Pearson's correlation after dropout, each divided by its
    value before dropout."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, 400, 1000))

    def zscored(a):
        return (a - a.mean(-1, keepdims=True)) / a.std(-1, ddof=1, keepdims=True)

    def estimator(a):
        return (a[0] * a[1]).sum(-1) / (a.shape[-1] - 1)

    z = zscored(np.stack([x, rho * x + (1 - rho**2) ** 0.5 * y]))
    dropped = z * (random.random(z.shape) < keep)
    return estimator(dropped) / estimator(z), estimator(zscored(dropped)) / estimator(z)


def c3() -> Verdict:
    """Judges C3, the formula of the gradient (Section 3.1), against the complex-step derivative of P."""
    random = np.random.default_rng(0)
    relative, zero = [], []
    for _layer in range(20):
        m, d = random.integers(5, 40, 2)
        a = random.standard_normal((m, d)) @ random.standard_normal((d, d)) + random.standard_normal(d)
        sigma = a.std(axis=0, ddof=1)
        z = (a - a.mean(axis=0)) / sigma
        rho = z.T @ z / (m - 1)
        sample, unit = random.integers(m), random.integers(d)
        terms = rho[:, unit] * (z[sample] - z[sample, unit] * rho[:, unit])  # [i]
        printed = 2 / (d * (m - 1) * sigma[unit]) * terms.sum()
        step = np.zeros_like(a, complex)
        step[sample, unit] = 1e-30j
        exact = _penalty(a + step).imag / 1e-30
        relative.append(abs(printed - exact) / abs(exact))
        zero.append(terms[unit])
    return Verdict(
        "C3",
        "3.1",
        "The gradient formula of P, and that its i = l term is always zero.",
        (
            always("relative error of the formula", np.array(relative), 0, tolerance=1e-8),
            always("its i = l term", np.array(zero), 0, tolerance=1e-12),
        ),
        "The formula is compared with the complex-step derivative in float64, at 20 random entries of layers "
        "with 5 to 40 units.",
        of="entries",
    )


def _penalty(a: np.ndarray) -> complex:
    """Returns P for complex a. No absolute value is taken, so P's imaginary part gives the derivative."""
    c = a - a.mean(axis=0)
    z = c / np.sqrt((c * c).sum(axis=0) / (len(a) - 1))
    rho = z.T @ z / (len(a) - 1)
    return (rho * rho).sum() / (2 * a.shape[1])
