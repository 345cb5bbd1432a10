"""decorr: decorrelated neural network activations in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from decorr._dropout import dropout as dropout
    from decorr._dropout import dropout_correlation as dropout_correlation
    from decorr._dropout import dropout_estimator as dropout_estimator
    from decorr.chance import independent_penalty as independent_penalty
    from decorr.cka import CKAState as CKAState
    from decorr.cka import linear_cka as linear_cka
    from decorr.correlation import correlation_matrix as correlation_matrix
    from decorr.correlation import covariance_matrix as covariance_matrix
    from decorr.correlation import zscore as zscore
    from decorr.dormancy import activity as activity
    from decorr.dormancy import dormant_units as dormant_units
    from decorr.effective import effective_units as effective_units
    from decorr.effective import mean_square_correlation as mean_square_correlation
    from decorr.layers import layer_penalties as layer_penalties
    from decorr.models import MLP as MLP
    from decorr.models import BatchWhitening as BatchWhitening
    from decorr.models import ConvNet as ConvNet
    from decorr.penalties import GradientTerms as GradientTerms
    from decorr.penalties import barlow_twins_loss as barlow_twins_loss
    from decorr.penalties import correlation_penalty as correlation_penalty
    from decorr.penalties import decov_loss as decov_loss
    from decorr.penalties import gradient_terms as gradient_terms
    from decorr.penalties import pair_penalty as pair_penalty
    from decorr.penalties import penalty_gradient as penalty_gradient
    from decorr.penalties import variance_penalty as variance_penalty
    from decorr.penalties import vcreg_loss as vcreg_loss
    from decorr.penalties import vicreg_loss as vicreg_loss
    from decorr.penalties import xcov_loss as xcov_loss
    from decorr.positions import sample_positions as sample_positions
    from decorr.redundancy import merge_units as merge_units
    from decorr.redundancy import redundant_pairs as redundant_pairs
    from decorr.spectra import effective_rank as effective_rank
    from decorr.spectra import rank_above as rank_above
    from decorr.spectra import rank_at as rank_at
    from decorr.spectra import spectrum as spectrum
    from decorr.streaming import CorrelationState as CorrelationState
    from decorr.whitening import whiten as whiten
    from decorr.whitening import whitening_matrix as whitening_matrix

_MODULES = {
    "_dropout": "dropout dropout_correlation dropout_estimator",
    "chance": "independent_penalty",
    "cka": "CKAState linear_cka",
    "correlation": "correlation_matrix covariance_matrix zscore",
    "dormancy": "activity dormant_units",
    "effective": "effective_units mean_square_correlation",
    "layers": "layer_penalties",
    "models": "MLP BatchWhitening ConvNet",
    "penalties": "GradientTerms barlow_twins_loss correlation_penalty decov_loss gradient_terms pair_penalty "
    "penalty_gradient variance_penalty vcreg_loss vicreg_loss xcov_loss",
    "positions": "sample_positions",
    "redundancy": "merge_units redundant_pairs",
    "spectra": "effective_rank rank_above rank_at spectrum",
    "streaming": "CorrelationState",
    "whitening": "whiten whitening_matrix",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
