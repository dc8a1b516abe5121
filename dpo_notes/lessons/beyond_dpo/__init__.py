"""Notebook 12 asks which losses there are besides DPO, and where they all fail."""
