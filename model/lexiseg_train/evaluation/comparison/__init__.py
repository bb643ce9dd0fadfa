"""Two models on the same photographs: where they differ, and by how much more than chance."""
