"""decorr: decorrelated neural network activations in JAX."""

from decorr.correlation import CorrelationState, correlation_matrix, zscore
from decorr.dropout import dropout, dropout_correlation, dropout_estimator
from decorr.models import MLP
from decorr.penalty import (
    GradientTerms,
    correlation_penalty,
    gradient_terms,
    independent_penalty,
    penalty_gradient,
)

__all__ = [
    "MLP",
    "CorrelationState",
    "GradientTerms",
    "correlation_matrix",
    "correlation_penalty",
    "dropout",
    "dropout_correlation",
    "dropout_estimator",
    "gradient_terms",
    "independent_penalty",
    "penalty_gradient",
    "zscore",
]
