"""Notebook 09: 09 Computing the log-probabilities."""
