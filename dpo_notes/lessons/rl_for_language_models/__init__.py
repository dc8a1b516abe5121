"""Notebook 04: 04 RL for language models."""
