"""Training-free dense CLIP: stock open_clip weights, another last block."""

import lexiseg_model.clip  # noqa: F401  # makes open_clip and timm importable, before a module here imports them
