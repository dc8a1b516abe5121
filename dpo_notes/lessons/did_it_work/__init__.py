"""Notebook 11 asks what the training gained and what it cost."""
