"""Benchmarks of jobs and of training on corrected pictures."""
