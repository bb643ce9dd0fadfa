"""Training, data and evaluation of lexiseg: what the service does not need to serve."""
