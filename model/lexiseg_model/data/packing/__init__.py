"""Pairs of any source as tar shards."""
