"""Notebook 01 asks what it means that a model is a distribution over the next token."""
