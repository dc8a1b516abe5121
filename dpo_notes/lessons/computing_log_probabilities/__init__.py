"""Notebook 09 asks what exactly log pi(y | x) is in code."""
