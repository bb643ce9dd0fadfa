"""What is wrong with a set, before hours are spent on it."""
