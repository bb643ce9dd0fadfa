"""Load and speed: benchmarks that print ratios against a baseline of the same run."""
