"""Small places where the truth is known."""
