"""What is wrong, told where the REST protocol's clients look for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lexiseg_service.errors import ServiceError


@asynccontextmanager
async def told() -> AsyncIterator[None]:
    """An error says what is wrong in the field `error`, too."""
    try:
        yield
    except ServiceError as error:
        error.extra["error"] = error.detail
        raise
