"""Benchmarks that print ratios, and what writes their pages: `make bench`."""
