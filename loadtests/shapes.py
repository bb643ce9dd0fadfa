"""How the number of users goes over time. Free of locust, whose import changes how a whole process waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

N_STEPS = 4
QUIET = 0.1  # share of the users before and after a spike
RAMP = 0.1  # share of the time in which a soak reaches its users


@dataclass(frozen=True)
class Stage:
    """So many users until so many seconds after the start, added or taken away at a rate per second."""

    until: float
    users: int
    rate: float


def flat(users: int, seconds: float) -> list[Stage]:
    """All at once, to the end."""
    return [Stage(seconds, users, users)]


def steps(users: int, seconds: float) -> list[Stage]:
    """A quarter of the users, then half, then three quarters, then all: where does it bend?"""
    return [Stage(seconds * step / N_STEPS, -(-users * step // N_STEPS), users) for step in range(1, N_STEPS + 1)]


def spike(users: int, seconds: float) -> list[Stage]:
    """Few users, all users in the middle fifth, few again: how long does it take to recover?"""
    few = max(1, round(users * QUIET))
    return [Stage(0.4 * seconds, few, users), Stage(0.6 * seconds, users, users), Stage(seconds, few, users)]


def soak(users: int, seconds: float) -> list[Stage]:
    """A slow beginning, then all for a long time: what grows?"""
    return [Stage(RAMP * seconds, users, max(users / (RAMP * seconds), 0.1)), Stage(seconds, users, users)]


SHAPES: Mapping[str, Callable[[int, float], list[Stage]]] = {"flat": flat, "steps": steps, "spike": spike, "soak": soak}


def stage_at(stages: list[Stage], seconds: float) -> Stage | None:
    """What holds so long after the start; None when it is over."""
    return next((stage for stage in stages if seconds < stage.until), None)
