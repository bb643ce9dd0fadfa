"""Training of CLIP's towers for the dense CLIP methods."""
