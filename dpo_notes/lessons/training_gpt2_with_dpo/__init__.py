"""Notebook 10 reads the whole training loop of DPO and runs it."""
