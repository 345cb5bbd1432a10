"""Penalties of one layer's activations, a paper a file."""

from decorr.penalties.simon import GradientTerms, correlation_penalty, gradient_terms, penalty_gradient

__all__ = ["GradientTerms", "correlation_penalty", "gradient_terms", "penalty_gradient"]
