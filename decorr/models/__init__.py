"""Networks that return their activations, and a whitening layer for any network."""

from decorr.models.conv import ConvNet
from decorr.models.layers import slopes
from decorr.models.mlp import MLP
from decorr.models.whitening import BatchWhitening

__all__ = ["MLP", "BatchWhitening", "ConvNet", "slopes"]
