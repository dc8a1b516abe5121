"""Notebook 04 asks what changes when the actions are tokens."""
