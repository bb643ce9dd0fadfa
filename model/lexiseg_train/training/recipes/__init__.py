"""Find recipes by name and apply `key=value`; their YAML is in `lexiseg_train/methods/NAME/recipes/`. Free of torch."""
