"""Masks with numpy alone: COCO run lengths, polygons, PNG files."""
