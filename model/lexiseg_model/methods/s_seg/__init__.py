"""S-Seg: segmentation learned from pseudo-masks and captions alone (Lai, CVPR 2025)."""

WEIGHTS_PUBLISHED = False
