"""TIPSv2 (Google, 2026): an image tower whose patches lie in the space of its text tower; nothing is trained here."""
