"""`lexiseg calibrate`: thresholds for the classes of a vocabulary, from photographs."""
