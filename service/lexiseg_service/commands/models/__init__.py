"""`lexiseg models` and `lexiseg export`."""
