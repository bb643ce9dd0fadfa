"""Trainings of `tiny` on a user's own pictures: fine-tuning, distillation."""
