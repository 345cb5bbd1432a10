"""Networks trained: what there is to train, the vectorised engine, and the machines that it runs on."""
