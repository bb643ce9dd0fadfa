"""A user's own pictures: read from folders or COCO JSON, checked, and written as an indexed data set."""
