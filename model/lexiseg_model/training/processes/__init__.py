"""The processes of a run: those of torchrun, those that make batches, and the signals that end them."""
