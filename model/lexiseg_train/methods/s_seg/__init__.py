"""Training of S-Seg from captioned photographs."""
