"""Quality of a model on data sets."""
