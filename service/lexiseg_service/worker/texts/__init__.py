"""Rows of the text tower: in memory, in Redis, on their way."""
