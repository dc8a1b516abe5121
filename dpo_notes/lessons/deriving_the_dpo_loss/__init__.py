"""Notebook 08: 08 Deriving the DPO loss."""
