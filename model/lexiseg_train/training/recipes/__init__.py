"""Find recipes by name and apply `key=value`; their YAML is in `methods/NAME/training/recipes/`. Free of torch."""
