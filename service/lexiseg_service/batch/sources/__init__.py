"""Where the pictures of a batch are."""
