"""Penalties on activations, one paper per file."""

from decorr.penalties._gram import GradientTerms
from decorr.penalties.barlow_twins import barlow_twins_loss
from decorr.penalties.decov import decov_loss
from decorr.penalties.pairs import pair_penalty
from decorr.penalties.sigreg import sigreg_loss
from decorr.penalties.simon import correlation_penalty, gradient_terms, penalty_gradient
from decorr.penalties.vcreg import vcreg_loss
from decorr.penalties.vicreg import VICRegParts, variance_penalty, vicreg_loss, vicreg_parts
from decorr.penalties.xcov import xcov_loss

__all__ = [
    "GradientTerms",
    "VICRegParts",
    "barlow_twins_loss",
    "correlation_penalty",
    "decov_loss",
    "gradient_terms",
    "pair_penalty",
    "penalty_gradient",
    "sigreg_loss",
    "variance_penalty",
    "vcreg_loss",
    "vicreg_loss",
    "vicreg_parts",
    "xcov_loss",
]
