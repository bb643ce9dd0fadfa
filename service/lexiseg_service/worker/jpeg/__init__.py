"""JPEG decoded on the device that computes."""
