"""Compares methods against overfitting in customary networks: plan, training, tables and page."""
