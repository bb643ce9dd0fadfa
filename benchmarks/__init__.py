"""Benchmarks that print Markdown tables of ratios: `make bench`."""
