"""MaskCLIP: an example of a training-free method over CLIP's towers (README.md)."""
