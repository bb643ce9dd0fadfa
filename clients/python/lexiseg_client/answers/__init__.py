"""What comes back: segments with masks in the forms in which they travel, and what can be made of them."""
