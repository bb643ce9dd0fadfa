"""Parts of the Unpair-Seg network."""
