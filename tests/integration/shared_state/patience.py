"""How long a Redis is waited for."""

from __future__ import annotations

PATIENT = 30.0  # seconds that nothing here should need
SHORT = 1.0  # what an ill Redis is waited for
