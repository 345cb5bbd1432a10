"""decorr: decorrelated neural network activations in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from decorr._dropout import dropout as dropout
    from decorr._dropout import dropout_correlation as dropout_correlation
    from decorr._dropout import dropout_estimator as dropout_estimator
    from decorr.chance import independent_penalty as independent_penalty
    from decorr.correlation import correlation_matrix as correlation_matrix
    from decorr.correlation import zscore as zscore
    from decorr.models import MLP as MLP
    from decorr.models import ConvNet as ConvNet
    from decorr.penalties import GradientTerms as GradientTerms
    from decorr.penalties import correlation_penalty as correlation_penalty
    from decorr.penalties import gradient_terms as gradient_terms
    from decorr.penalties import penalty_gradient as penalty_gradient
    from decorr.positions import sample_positions as sample_positions
    from decorr.streaming import CorrelationState as CorrelationState

_HOMES = {
    "MLP": "models",
    "ConvNet": "models",
    "CorrelationState": "streaming",
    "GradientTerms": "penalties",
    "correlation_matrix": "correlation",
    "correlation_penalty": "penalties",
    "dropout": "_dropout",
    "dropout_correlation": "_dropout",
    "dropout_estimator": "_dropout",
    "gradient_terms": "penalties",
    "independent_penalty": "chance",
    "penalty_gradient": "penalties",
    "sample_positions": "positions",
    "zscore": "correlation",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
