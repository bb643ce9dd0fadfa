"""Examples of classes in a worker: their rows, kept like those of texts, and the pictures that vocabularies keep."""
