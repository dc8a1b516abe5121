"""Notebook 02 asks why imitation is not what we want."""
