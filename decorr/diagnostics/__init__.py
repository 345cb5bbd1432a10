"""Measurements of a layer: its redundancy, rank and dormant units, and its similarity to another layer."""

from decorr.chance import independent_penalty
from decorr.diagnostics.cka import CKAState, linear_cka
from decorr.diagnostics.dormancy import activity, dormant_units
from decorr.diagnostics.effective import effective_units, mean_square_correlation
from decorr.diagnostics.report import layer_report
from decorr.diagnostics.spectra import effective_rank, rank_above, rank_at, spectrum
from decorr.redundancy import redundant_pairs

__all__ = [
    "CKAState",
    "activity",
    "dormant_units",
    "effective_rank",
    "effective_units",
    "independent_penalty",
    "layer_report",
    "linear_cka",
    "mean_square_correlation",
    "rank_above",
    "rank_at",
    "redundant_pairs",
    "spectrum",
]
