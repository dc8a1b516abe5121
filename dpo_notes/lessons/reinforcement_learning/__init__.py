"""Notebook 03 asks how an agent learns from reward alone."""
