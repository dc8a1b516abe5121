"""Notebook 05: 05 The reward model."""
