"""Jobs, and where each picture of one stands."""
