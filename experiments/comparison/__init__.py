"""Methods against overfitting in networks that people train: planned, trained, judged."""
