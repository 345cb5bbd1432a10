"""Values that describe training: networks, protocols, and the cells of a sweep. Without JAX."""
