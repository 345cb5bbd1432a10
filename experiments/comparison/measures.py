"""Computes the stored measures of a trained network from its logits, without JAX."""

import numpy as np
from scipy.optimize import minimize_scalar

from experiments.data.pool import Sample
from experiments.statistics import classification

FAILED = 0.8
"""A network has failed if its training error is larger than this share of the error of guessing."""


def measures(
    logits: dict[str, np.ndarray], effective_units: np.ndarray, labels: np.ndarray, sample: Sample
) -> dict[str, float]:
    """Returns a dict from names to the measures of one network.

    Args:
      logits: a dict from names to logits [row, class]. Its names are train and tuning; in a report also test,
        pruned and each damage of the test inputs.
      effective_units: effective units [layer].
      labels: all labels of the pool.
      sample: the rows that the network uses.

    Returns:
      NAME_error and NAME_nll for each name in `logits`, and effective_units_LAYER. A report also has
      test_calibration_error, scaled_nll and scaled_calibration_error. For the scaled measures, the test
      logits are divided by a temperature that is fitted to the tuning rows. `failed` is 1 if logits are not
      finite, or if the training error is larger than `FAILED` allows; else 0. All errors of a failed network
      are set to the error of guessing, 1 - 1 / classes.
    """
    guessing = 1 - 1 / logits["train"].shape[-1]
    rows = {"train": sample.train, "tuning": sample.tuning}
    measured = {
        name: classification.measures(values, labels[rows.get(name, sample.test)])
        for name, values in logits.items()
    }
    finite = all(np.isfinite(values).all() for values in logits.values())
    failed = not finite or measured["train"]["error"] > FAILED * guessing
    numbers = {"failed": float(failed)}
    for name, found in measured.items():
        numbers |= {
            f"{name}_error": guessing if failed else float(found["error"]),
            f"{name}_nll": float(found["nll"]),
        }
    if "test" in logits:
        numbers["test_calibration_error"] = float(measured["test"]["calibration_error"])
        scaled = np.full_like(logits["test"], np.nan)
        if finite:
            scaled = logits["test"] / temperature(logits["tuning"], labels[sample.tuning])
        found = classification.measures(scaled, labels[sample.test])
        numbers |= {f"scaled_{name}": float(found[name]) for name in ("nll", "calibration_error")}
    worth = {f"effective_units_{layer}": float(value) for layer, value in enumerate(effective_units, start=1)}
    return numbers | worth


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature, from 1/20 to 20, that minimises the negative log-likelihood of logits.

    Args:
      logits: [row, class].
      labels: [row].

    Source: Guo et al., On Calibration of Modern Neural Networks (2017).
    """

    def nll(log_temperature: float) -> float:
        return float(classification.measures(logits / np.exp(log_temperature), labels)["nll"])

    return float(np.exp(minimize_scalar(nll, bounds=(-3, 3), method="bounded").x))
