"""What is trained, as values: networks, protocols, and the cells of a sweep. Without JAX."""
