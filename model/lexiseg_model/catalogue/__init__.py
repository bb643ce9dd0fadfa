"""Model catalogue: cards, methods, weight files, import of checkpoints, push and pull."""
