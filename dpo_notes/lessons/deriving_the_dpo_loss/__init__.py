"""Notebook 08 asks how the reward model disappears from the DPO loss."""
