"""Unpair-Seg: class-agnostic masks from points and boxes over a frozen CLIP, named by CLIP itself."""

import lexiseg_model.clip  # noqa: F401  open_clip and timm can be imported from here on
