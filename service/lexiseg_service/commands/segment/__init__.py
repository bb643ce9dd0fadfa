"""`lexiseg segment`."""
