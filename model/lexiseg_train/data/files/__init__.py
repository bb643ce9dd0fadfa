"""Files of a data set that somebody hands in: found inside its folder, and read up to a size."""
