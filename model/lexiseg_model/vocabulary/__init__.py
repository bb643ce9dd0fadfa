"""Score the classes of a vocabulary: text rows, text banks, classes by example, background rule, refinement."""
