"""What comes from outside, made up by coverage: `python -m tests.fuzz`."""
