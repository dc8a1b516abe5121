"""Pictures of runs and frontiers: data and an `ax` in, the Axes out."""
