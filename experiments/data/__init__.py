"""Image classification sets as arrays in memory."""
