"""Benchmarks of one device, usually a GPU, against the CPU: image passes, serving, arg-max and RLE."""
