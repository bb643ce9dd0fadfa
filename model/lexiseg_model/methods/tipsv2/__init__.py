"""TIPSv2 (Google, 2026): cosines of its patch embeddings with its text embeddings; training-free."""
