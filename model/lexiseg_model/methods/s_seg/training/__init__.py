"""What S-Seg learns from."""
