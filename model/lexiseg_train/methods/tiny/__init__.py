"""Training of `tiny`: its recipes, data, losses and publication."""
