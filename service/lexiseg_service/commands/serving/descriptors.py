"""As many files and connections as the system lets this process have, not as few as it begins with.

What a process begins with, 1,024 as a rule, is there for programs that can count no further (select). It is less than
the connections that are let in: a crowd would leave no descriptor to whatever else opens one. Where the system gives no
more, fewer connections are let in.
"""

from __future__ import annotations

import sys

import structlog

from lexiseg_service.gateway.rest.http1.connections import RESERVE
from lexiseg_service.settings import Settings

logger = structlog.get_logger("lexiseg.serving")
MOST = 2**20  # where there is no bound, or one that nobody means
KEPT = 64 + RESERVE  # for all but connections: files, Redis, workers; and for those that hear that there are too many
COUNTED = ("max_connections", "max_grpc_connections")


def take_all_descriptors() -> None:
    """Raises this process's bound to what it may be raised to."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _most(hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def within_descriptors(settings: Settings) -> Settings:
    """The settings with as many connections as there can be; says so where that is fewer."""
    if sys.platform == "win32":
        return settings
    import resource

    descriptors = _most(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    each = max(1, (descriptors - KEPT) // len(COUNTED))
    fewer = {name: each for name in COUNTED if getattr(settings, name) > each}
    if not fewer:
        return settings
    logger.warning("fewer connections than were asked for: the system gives no more files", files=descriptors, **fewer)
    return settings.model_copy(update=fewer)


def _most(hard: int) -> int:
    import resource

    return MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
