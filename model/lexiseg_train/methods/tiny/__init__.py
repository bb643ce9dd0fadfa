"""Training of `tiny`: its recipes, data, losses, publication and checks."""
