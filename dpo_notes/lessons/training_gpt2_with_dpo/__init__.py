"""Notebook 10: 10 Training GPT-2 with DPO."""
