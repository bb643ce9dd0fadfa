"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A slow machine is no failure: what is right is asserted, how fast it is belongs to the benchmarks.
settings.register_profile("lexiseg", deadline=None)
settings.load_profile("lexiseg")
