"""What helps against overfitting: methods tuned alike on many data sets."""
