"""Training of `tiny`'s prompt head."""
