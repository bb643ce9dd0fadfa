"""`lexiseg data`."""
