"""What the CLIP family learns here: a small pair of towers from captions, CLIP-DINOiser's heads over any CLIP."""
