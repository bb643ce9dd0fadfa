"""lexiseg's model behind other serving frameworks, for benchmarks/serving.py."""
