"""Networks that show their activations."""

from decorr.models.mlp import MLP, slopes

__all__ = ["MLP", "slopes"]
