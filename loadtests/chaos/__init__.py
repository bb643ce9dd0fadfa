"""Everything at once that may go wrong, with known answers: `python -m loadtests.chaos`."""
