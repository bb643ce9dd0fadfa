"""Training of S-Seg+ from labels that another model wrote."""
