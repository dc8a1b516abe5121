"""The experiments that the notebooks show; they write the recorded runs in data/."""
