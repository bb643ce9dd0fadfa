"""Recipes and the loops that turn data sets into weights."""
