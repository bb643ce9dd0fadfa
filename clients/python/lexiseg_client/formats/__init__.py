"""Segments in the formats of other tools. Functions over plain segments; `Segmentation` has a method for each."""
