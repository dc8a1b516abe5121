"""The cat, the broom, the bathtub and the meat."""
