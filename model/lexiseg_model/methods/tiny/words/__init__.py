"""tiny's text tower (MiniLM), its files, and detection of words unlike training's."""
