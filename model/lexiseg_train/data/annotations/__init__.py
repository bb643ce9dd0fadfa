"""Annotations in the formats of other tools, read with checks."""
