"""Waits for clients that others may cut short: at a shutdown, or for room."""

from __future__ import annotations

import asyncio


def end_by(wait: asyncio.Timeout, when: float) -> None:
    """End a wait at a time of its event loop at the latest; asyncio raises for one that is just ending by itself."""
    if not wait.expired():
        end = wait.when()
        wait.reschedule(when if end is None else min(when, end))
