"""Calls with NumPy arrays and lists of numbers, which mypy checks and nothing runs."""

import jax
import numpy as np

import decorr


def calls(a: np.ndarray, where: np.ndarray, weights: np.ndarray, key: jax.Array) -> object:
    """Every public function that takes arrays."""
    return [
        decorr.zscore(a, where=where, weights=weights),
        decorr.correlation_matrix(a, where=where, weights=weights),
        decorr.covariance_matrix(a, where=where, weights=weights),
        decorr.CorrelationState.init(3).update(a, where=where, weights=weights),
        decorr.correlation_penalty(a, where=where, weights=weights),
        decorr.pair_penalty(a, where=where, weights=weights),
        decorr.penalty_gradient(a, where=where, weights=weights),
        decorr.penalties.gradient_terms(a, where=where, weights=weights),
        decorr.decov_loss(a, where=where, weights=weights),
        decorr.variance_penalty(a, where=where, weights=weights),
        decorr.vcreg_loss(a, where=where, weights=weights),
        decorr.xcov_loss(a, a, where=where, weights=weights),
        decorr.vicreg_loss(a, a, invariance_weight=1.0, where=where, weights=weights),
        decorr.penalties.vicreg_parts(a, a, where=where, weights=weights),
        decorr.barlow_twins_loss(a, a, where=where, weights=weights),
        decorr.sigreg_loss(a, key, where=where, weights=weights),
        decorr.diagnostics.mean_square_correlation(a, where=where, weights=weights),
        decorr.effective_units(a, where=where, weights=weights),
        decorr.diagnostics.spectrum(a, where=where, weights=weights),
        decorr.effective_rank(a, where=where, weights=weights),
        decorr.diagnostics.rank_at(a, where=where, weights=weights),
        decorr.diagnostics.rank_above(a, where=where, weights=weights),
        decorr.diagnostics.activity(a, where=where, weights=weights),
        decorr.diagnostics.dormant_units(a, where=where, weights=weights),
        decorr.diagnostics.linear_cka(a, a, where=where, weights=weights),
        decorr.diagnostics.CKAState.init().update(a, a, where=where, weights=weights),
        decorr.whiten(a, where=where, weights=weights),
        decorr.whitening_matrix(a),
        decorr.fit_whitening(a, where=where, weights=weights).whiten(a),
        decorr.dropout(key, a, 0.3),
        decorr.dropout_correlation(a, 0.3, a, a),
        decorr.dropout_estimator(a, 0.3),
        decorr.sample_positions(a, key, 4, where=where),
        decorr.diagnostics.redundant_pairs(a, 0.9),
        decorr.merge_units(a, a, a, a, where=where, weights=weights),
        decorr.merge_network(a, [{"kernel": a, "bias": a}] * 2, where=where, weights=weights),
        decorr.layer_penalties([a], {"*": 0.002}),
        decorr.layer_report([a], where=where, weights=weights),
    ]
