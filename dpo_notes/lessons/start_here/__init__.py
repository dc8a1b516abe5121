"""Notebook 00 asks how a language model can learn from "A is better than B" alone."""
