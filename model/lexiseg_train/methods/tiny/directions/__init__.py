"""Directions of training's own words, beside their texts, on embeddings of a frozen network."""
