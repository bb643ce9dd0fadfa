"""tiny's text tower (MiniLM), its files, and detection of words unlike those of training."""
