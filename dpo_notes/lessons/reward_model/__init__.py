"""Notebook 05 asks how comparisons become numbers."""
