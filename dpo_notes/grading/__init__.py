"""Marks for returned notebooks: each runs in a process of its own, and its answers are judged in another."""
