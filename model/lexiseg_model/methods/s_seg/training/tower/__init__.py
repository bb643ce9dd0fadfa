"""A tower of DINO's make from photographs alone: pseudo-masks come from it where the authors' cannot be had."""
