"""Lengths of time, and times as texts for clients."""

from __future__ import annotations

import time
from datetime import UTC, datetime

DAY = 86_400.0  # seconds


def expiry(since: float | None, days: float | None) -> float | None:
    """When what is kept so many days from a time expires, in seconds since the epoch; None: it does not."""
    return None if since is None or days is None else since + DAY * days


def has_passed(moment: float | None) -> bool:
    """Whether a time in seconds since the epoch has come; None never does."""
    return moment is not None and moment <= time.time()


def rfc3339(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
