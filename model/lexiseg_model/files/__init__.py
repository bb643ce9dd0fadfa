"""Files of an operating system: names that are bytes, atomic writing, archives of strangers. Free of torch."""
