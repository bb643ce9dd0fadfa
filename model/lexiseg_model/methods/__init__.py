"""One package per segmentation method."""
