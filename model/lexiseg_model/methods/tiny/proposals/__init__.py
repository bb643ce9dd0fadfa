"""Class-agnostic mask proposals: choose points of a grid, evaluate them in the image or in windows, keep good masks."""
