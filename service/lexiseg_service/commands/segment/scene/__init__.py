"""`lexiseg segment --window`: pictures of any size, window by window."""
