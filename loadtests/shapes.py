"""Number of users over time. Does not import locust, which patches the standard library of the whole process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

N_STEPS = 4
QUIET = 0.1  # share of the users before and after a spike
RAMP = 0.1  # share of the time in which a soak reaches its users


@dataclass(frozen=True)
class Stage:
    """A number of users until a time after the start, reached at a rate of users per second."""

    until: float  # seconds after the start
    users: int
    rate: float  # users added or removed per second


def flat(users: int, seconds: float) -> list[Stage]:
    """All users from the start to the end."""
    return [Stage(seconds, users, users)]


def steps(users: int, seconds: float) -> list[Stage]:
    """A quarter of the users, then half, three quarters and all: shows where latency begins to rise."""
    return [Stage(seconds * step / N_STEPS, -(-users * step // N_STEPS), users) for step in range(1, N_STEPS + 1)]


def spike(users: int, seconds: float) -> list[Stage]:
    """Few users, all users in the middle fifth, few again: shows how long recovery takes."""
    few = max(1, round(users * QUIET))
    return [Stage(0.4 * seconds, few, users), Stage(0.6 * seconds, users, users), Stage(seconds, few, users)]


def soak(users: int, seconds: float) -> list[Stage]:
    """A slow ramp, then all users for a long time: shows leaks."""
    return [Stage(RAMP * seconds, users, max(users / (RAMP * seconds), 0.1)), Stage(seconds, users, users)]


SHAPES: Mapping[str, Callable[[int, float], list[Stage]]] = {"flat": flat, "steps": steps, "spike": spike, "soak": soak}


def stage_at(stages: list[Stage], seconds: float) -> Stage | None:
    """The stage at a time after the start; None when the load is over."""
    return next((stage for stage in stages if seconds < stage.until), None)
