"""`lexiseg models prove`: options, and what it does."""
