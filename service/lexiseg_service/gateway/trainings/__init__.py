"""Trainings: a model tuned on a client's pictures, by a trainer next to the service."""
