"""Notebook 12: 12 Beyond DPO, and its limits."""
