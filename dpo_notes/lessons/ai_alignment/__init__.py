"""Notebook 02: 02 AI alignment."""
