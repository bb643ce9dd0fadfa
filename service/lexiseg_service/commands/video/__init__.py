"""`lexiseg video`."""
