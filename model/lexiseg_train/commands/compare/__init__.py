"""`lexiseg compare`: two models on the same photographs, without labels."""
