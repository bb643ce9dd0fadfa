"""What the box of a prompt says of its mask: where that ends, and that a small one is looked at closer."""
