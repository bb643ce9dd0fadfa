"""One device, usually a GPU: image passes, serving and what follows the scores, each against the same on a CPU."""
