"""S-Seg: segmentation learned from pseudo-masks and captions alone (Lai, CVPR 2025)."""

import lexiseg_model.clip  # noqa: F401  # makes open_clip and timm importable, before a module here imports them
