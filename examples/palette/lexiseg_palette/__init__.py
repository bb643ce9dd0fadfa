"""Words are colours: an example of a method of one's own (README.md)."""
