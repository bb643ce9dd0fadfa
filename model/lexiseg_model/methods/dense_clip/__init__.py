"""Training-free dense CLIP: stock open_clip weights, another last block."""
