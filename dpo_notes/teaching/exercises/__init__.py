"""The exercises of the notebooks, one file a notebook: each checker names the likely mistake."""
