"""Falcon Perception (TII, 2026) behind lexiseg's interface: phrases in, instances with masks out."""
