"""What is kept on disk: results and checkpoints, written whole or not at all. Knows no JAX."""
