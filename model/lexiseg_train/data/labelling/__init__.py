"""Labels that models give photographs: masks to train on, and the entities of captions."""
