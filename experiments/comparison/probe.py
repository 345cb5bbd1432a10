"""The error of a linear probe on features."""

import numpy as np


def error(features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Returns the test error of a linear probe: ridge regression on standardised features [row, feature].
    Leave-one-out validation chooses the strength of the ridge penalty."""
    from sklearn.linear_model import RidgeClassifierCV

    offset, scale = features[train].mean(axis=0), features[train].std(axis=0)
    z = (features - offset) / np.where(scale > 0, scale, 1)
    classifier = RidgeClassifierCV(alphas=np.logspace(-2, 4, 7)).fit(z[train], labels[train])
    return float(np.mean(classifier.predict(z[test]) != labels[test]))
