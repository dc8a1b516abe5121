"""Notebook 01: 01 Language models."""
