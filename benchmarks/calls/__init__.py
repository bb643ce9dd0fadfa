"""Benchmarks of a running server over REST."""
