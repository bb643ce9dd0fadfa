"""API keys, limits of clients, and room for bytes and calls."""
