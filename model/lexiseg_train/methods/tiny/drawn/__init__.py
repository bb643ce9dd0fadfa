"""Training examples of `tiny`: crops of packs, pasted objects, and questions about them."""
