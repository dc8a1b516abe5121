"""What writes the recorded runs in data/: experiments that the notebooks show."""
