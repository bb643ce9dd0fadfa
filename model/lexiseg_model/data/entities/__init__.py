"""What captions name: entities with their describing words, found once and kept beside the pairs."""
