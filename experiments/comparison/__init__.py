"""Compares methods that reduce overfitting, in customary networks: plan, training, tables and page."""
