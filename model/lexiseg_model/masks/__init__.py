"""Masks and label maps: upsampling, arg-max, RLE, polygons, regions, refinement, suppression, overlays."""
