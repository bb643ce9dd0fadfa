"""Masks in and out of label maps: COCO RLE, overlays."""
