"""decorr: decorrelated neural network activations in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from decorr import config as config
    from decorr import diagnostics as diagnostics
    from decorr import models as models
    from decorr import penalties as penalties
    from decorr import training as training
    from decorr._dropout import dropout as dropout
    from decorr._dropout import dropout_correlation as dropout_correlation
    from decorr._dropout import dropout_estimator as dropout_estimator
    from decorr.chance import independent_penalty as independent_penalty
    from decorr.correlation import correlation_matrix as correlation_matrix
    from decorr.correlation import covariance_matrix as covariance_matrix
    from decorr.correlation import zscore as zscore
    from decorr.diagnostics import effective_rank as effective_rank
    from decorr.diagnostics import effective_units as effective_units
    from decorr.diagnostics import layer_report as layer_report
    from decorr.fitted import fit_whitening as fit_whitening
    from decorr.layers import layer_penalties as layer_penalties
    from decorr.merging import merge_network as merge_network
    from decorr.models import MLP as MLP
    from decorr.models import BatchWhitening as BatchWhitening
    from decorr.models import ConvNet as ConvNet
    from decorr.penalties import barlow_twins_loss as barlow_twins_loss
    from decorr.penalties import correlation_penalty as correlation_penalty
    from decorr.penalties import decov_loss as decov_loss
    from decorr.penalties import pair_penalty as pair_penalty
    from decorr.penalties import penalty_gradient as penalty_gradient
    from decorr.penalties import sigreg_loss as sigreg_loss
    from decorr.penalties import variance_penalty as variance_penalty
    from decorr.penalties import vcreg_loss as vcreg_loss
    from decorr.penalties import vicreg_loss as vicreg_loss
    from decorr.penalties import xcov_loss as xcov_loss
    from decorr.positions import sample_positions as sample_positions
    from decorr.redundancy import merge_units as merge_units
    from decorr.streaming import CorrelationState as CorrelationState
    from decorr.whitening import whiten as whiten
    from decorr.whitening import whitening_matrix as whitening_matrix

_MODULES = {
    "_dropout": "dropout dropout_correlation dropout_estimator",
    "chance": "independent_penalty",
    "correlation": "correlation_matrix covariance_matrix zscore",
    "diagnostics": "effective_rank effective_units layer_report",
    "fitted": "fit_whitening",
    "layers": "layer_penalties",
    "merging": "merge_network",
    "models": "MLP BatchWhitening ConvNet",
    "penalties": "barlow_twins_loss correlation_penalty decov_loss pair_penalty penalty_gradient "
    "sigreg_loss variance_penalty vcreg_loss vicreg_loss xcov_loss",
    "positions": "sample_positions",
    "redundancy": "merge_units",
    "streaming": "CorrelationState",
    "whitening": "whiten whitening_matrix",
}
"""Maps each module to its names for daily use, which `__all__` and `dir` list."""
_RARE = {
    "diagnostics": "CKAState activity dormant_units linear_cka mean_square_correlation rank_above rank_at "
    "redundant_pairs spectrum",
    "penalties": "GradientTerms VICRegParts gradient_terms vicreg_parts",
}
"""Maps each module to its names for rarer use. `decorr` has these too, but only their modules list them."""
_SUBMODULES = "config", "diagnostics", "models", "penalties", "training"


def _homes(modules: dict[str, str]) -> dict[str, str]:
    return {name: module for module, names in modules.items() for name in names.split()}


__all__ = sorted(_homes(_MODULES))
_HOMES = _homes(_RARE) | _homes(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
