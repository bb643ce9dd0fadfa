"""Training of TCL from captioned photographs."""
