"""Directions of training's own words, added to their texts, on embeddings of a frozen network."""
