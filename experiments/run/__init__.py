"""Training: the work, the vectorised engine, and the machines that it runs on."""
