"""JSON from clients: parsed behind a bound on its size, validated by pydantic, errors as fields and expectations.

Small texts are parsed on the event loop, large ones in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lexiseg_service.question.findings import invalid_value

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
MAX_BYTES_ON_EVENT_LOOP = 256 * 2**10


# One thread a process: parsing holds the GIL, so that a second thread gains nothing and delays the event loop.
_PARSER = ThreadPoolExecutor(1, "parse")


async def off_event_loop(n_bytes: int, work: Callable[[], T]) -> T:
    """Call `work`, which parses or writes `n_bytes`: on the event loop, or in the parser's thread if they are many."""
    if n_bytes <= MAX_BYTES_ON_EVENT_LOOP:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_PARSER, work)


def validate(schema: type[M], values: dict[str, Any], prefix: str = "") -> M:
    """An object of a schema; `prefix` goes before the names of wrong fields."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise invalid_value(error, schema, prefix) from None
