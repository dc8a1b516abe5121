"""A file of comparisons, from bytes to token numbers."""
