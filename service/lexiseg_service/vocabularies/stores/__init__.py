"""Where users' vocabularies are kept."""
