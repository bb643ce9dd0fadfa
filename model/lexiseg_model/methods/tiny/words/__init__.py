"""What `tiny` knows of words: their rows, those it was trained on, synonyms, and how far it believes them."""
