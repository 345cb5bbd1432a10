"""Measures of how well logits predict classes, and errors as exact counts."""

import numpy as np

BINS = 15
"""Number of equally wide bins for the confidence, from 0 to 1."""


def measures(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the error, the negative log-likelihood and the expected calibration error.

    error: the share of samples whose largest logit is not the label's. nll: the mean of -log
    softmax(logits)[label]. calibration_error: samples are binned by their largest probability. In each bin,
    the distance is taken between the mean of this probability and the share of right answers. The result is
    the mean of these distances, weighted by the number of samples in each bin.

    Args:
      logits: [..., sample, class]. If a logit is not finite, the error is that of guessing, 1 - 1 / classes,
        and the other measures are NaN.
      labels: [sample], integers.

    Returns:
      A dict of error, nll (in nats) and calibration_error, each [...].

    Source: expected calibration error: Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities
      Using Bayesian Binning (2015); 15 bins: Guo et al., On Calibration of Modern Neural Networks (2017).
    """
    logits = np.asarray(logits, np.float64)
    finite = np.isfinite(logits).all(axis=(-1, -2))
    logits = np.where(finite[..., None, None], logits, 0)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    right = logits.argmax(axis=-1) == labels
    confidence = np.exp(log_probability.max(axis=-1))
    own = np.take_along_axis(log_probability, np.broadcast_to(labels, right.shape)[..., None], axis=-1)
    return {
        "error": np.where(finite, 1 - right.mean(axis=-1), 1 - 1 / logits.shape[-1]),
        "nll": np.where(finite, -own[..., 0].mean(axis=-1), np.nan),
        "calibration_error": np.where(finite, _calibration_error(confidence, right), np.nan),
    }


def counted(errors: np.ndarray) -> np.ndarray:
    """Returns errors as exact fractions of the number of samples, without float32's rounding.

    Then two differences that stand for the same number of samples are equal, up to float64's rounding.

    Args:
      errors: [...], each a number of wrong samples divided by the same number of samples, or NaN.

    Returns:
      wrong / samples in float64. `samples` is the smallest number, at most 131,072, for which all
      errors x samples are whole numbers, within twice float32's rounding. If there is no such number, the
      errors are returned as they are.
    """
    errors = np.asarray(errors, np.float64)
    values = np.unique(errors[np.isfinite(errors)])
    samples = np.arange(1.0, 2**17 + 1)[:, None]
    # The first part is a single value, which rules out most candidates before larger parts are tried.
    for few in np.split(values, 2 ** np.arange(1, 18) - 1):
        wrong = samples * few
        samples = samples[(abs(wrong - np.rint(wrong)) <= samples * 2.0**-23).all(axis=1)]
    return np.rint(errors * samples[0]) / samples[0] if samples.size else errors


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    number = np.clip(confidence * BINS, 0, BINS - 1).astype(int)
    gap = confidence - right
    in_bins = [np.abs(np.where(number == bin_, gap, 0).sum(axis=-1)) for bin_ in range(BINS)]
    return np.sum(in_bins, axis=0) / right.shape[-1]
