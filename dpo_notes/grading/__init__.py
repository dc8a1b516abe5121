"""Marks for returned notebooks: each runs in its own process, and another process judges its answers."""
