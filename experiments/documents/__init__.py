"""Checks the numbers in the documents' sentences against the committed results."""
