"""Notebook 07: 07 The KL-constrained objective."""
