"""Unpair-Seg: class-agnostic masks from points and boxes over a frozen CLIP, named by CLIP itself."""
