"""Notebook 00: 00 Start here."""
