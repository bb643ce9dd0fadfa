"""Trainings of the methods in `lexiseg_model.methods`, with their recipes."""
