"""Benchmarks of what kills and small faults do: to a job, and to the tests."""
