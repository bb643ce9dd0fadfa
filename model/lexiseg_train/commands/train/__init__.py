"""`lexiseg train`: options, and what it does."""
