"""Results and checkpoints on disk, written whole or not at all. Without JAX."""
