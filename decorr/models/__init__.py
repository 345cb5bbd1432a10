"""Networks that show their activations, and layers for any network."""

from decorr.models.mlp import MLP, slopes
from decorr.models.whitening import BatchWhitening

__all__ = ["MLP", "BatchWhitening", "slopes"]
