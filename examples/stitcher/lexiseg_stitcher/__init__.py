"""OV-Stitcher: an example of a training-free method with two towers (README.md)."""
