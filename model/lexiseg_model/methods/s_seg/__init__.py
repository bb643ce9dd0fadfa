"""S-Seg: segmentation learned from pseudo-masks and captions only (Lai, CVPR 2025)."""

WEIGHTS_PUBLISHED = False
