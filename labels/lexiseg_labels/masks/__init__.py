"""Mask encodings in numpy: COCO run lengths, polygons, PNG files."""
