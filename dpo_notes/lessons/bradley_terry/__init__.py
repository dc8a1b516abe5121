"""Notebook 06: 06 Bradley–Terry."""
