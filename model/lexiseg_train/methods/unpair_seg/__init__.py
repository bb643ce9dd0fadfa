"""Training of Unpair-Seg: masks without class names (stage one), then their alignment with words (stage two)."""
