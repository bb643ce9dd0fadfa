"""Training of a DINO tower from photographs, for pseudo-masks where the authors' tower is not available."""
