"""Video: temporal smoothing, tracking and following of objects, with a bounded memory for each stream."""
