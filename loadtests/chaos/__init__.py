"""Fault injection under hostile load, with known answers: `python -m loadtests.chaos`."""
