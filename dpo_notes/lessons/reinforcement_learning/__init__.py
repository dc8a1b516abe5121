"""Notebook 03: 03 Reinforcement learning."""
