"""Tests of service/, mirroring its tree."""
