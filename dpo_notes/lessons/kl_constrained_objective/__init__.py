"""Notebook 07 asks which policy is best if leaving the reference has a price."""
