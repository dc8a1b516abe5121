"""The explorers of the notebooks, one file a notebook."""
