"""Recipes by name: contributed by methods, read from YAML, changed by `key=value`; free of torch."""
