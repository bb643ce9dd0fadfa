"""Jobs: many pictures asked one question in the background."""
