"""CLIP as a library: open_clip towers, dense features, text rows, prompt templates; DINO towers."""

from lexiseg_model.clip.compat import declare_missing_operators

# Before any module of this package, or of one that imports from it, imports open_clip or timm.
declare_missing_operators()
