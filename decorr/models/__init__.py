"""Networks that show their activations."""

from decorr.models.conv import ConvNet
from decorr.models.layers import slopes
from decorr.models.mlp import MLP

__all__ = ["MLP", "ConvNet", "slopes"]
