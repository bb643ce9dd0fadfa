"""A user's own pictures: read from folders or COCO JSON, checked, split, laid out as an indexed data set."""
