"""Training-free dense CLIP: weights of open_clip with a different last block."""
