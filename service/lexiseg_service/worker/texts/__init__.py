"""Rows of the text tower: in memory, in Redis behind it, else from the tower."""
