"""Reads and writes files: no other room opens any."""
