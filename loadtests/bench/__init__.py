"""Figures for docs/performance.md; `make bench` prints them."""
