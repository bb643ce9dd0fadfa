"""What holds for every test."""

from __future__ import annotations

import structlog
from hypothesis import settings

# A slow machine is no failure: what is right is asserted, how fast it is belongs to the benchmarks.
settings.register_profile("lexiseg", deadline=None)
settings.load_profile("lexiseg")

# Where a test sets up no logs of its own: structlog's default prints the values of local variables, which takes minutes
# when these are images.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
