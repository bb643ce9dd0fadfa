"""Small caches: what was made for who asked lately is not made again."""
