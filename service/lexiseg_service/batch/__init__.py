"""Everything that is not one request: many pictures, asked one question."""
