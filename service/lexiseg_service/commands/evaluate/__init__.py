"""`lexiseg eval`."""
