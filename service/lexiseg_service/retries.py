"""When what failed is tried again: by a client, after `Retry-After`, and here, with exponential backoff."""

from __future__ import annotations

AWAY_SECONDS = 30  # for clients, while a disk or a store is away


def backoff(attempt: int, first: float, longest: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 0): doubled each time, from `first` to `longest`."""
    return min(longest, first * 2.0 ** min(attempt, 60))
