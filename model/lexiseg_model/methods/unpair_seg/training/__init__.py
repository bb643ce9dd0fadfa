"""What Unpair-Seg learns from, in both stages."""
