"""Notebook 06 asks which loss fits rewards to comparisons."""
