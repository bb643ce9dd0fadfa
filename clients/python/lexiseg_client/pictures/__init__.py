"""What is sent as an image: files, pixels, and the ids of what was sent before."""
