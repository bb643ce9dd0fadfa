"""lexiseg's service: send an image and words, get masks."""
