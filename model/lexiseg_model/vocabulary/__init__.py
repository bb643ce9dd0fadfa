"""From words and examples to scores: text rows, the bank of a vocabulary, classes and background that compete."""
