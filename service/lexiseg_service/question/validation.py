"""JSON from clients: parsed behind a bound on its size, validated by pydantic, errors as fields and expectations.

Small texts are parsed on the event loop, large ones in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from lexiseg_service.errors import MalformedRequest, TooLarge
from lexiseg_service.question.findings import invalid_value
from lexiseg_service.settings import Limits

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


def parse_json(text: str | bytes | bytearray, limits: Limits, more: int = 0) -> Any:
    """Parse any JSON value, which may hold `more` values than the largest question."""
    encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if sum(encoded.count(mark) for mark in (b",", b"[", b"{")) > (max_count := max_values(limits) + more):
        raise TooLarge(f"the JSON holds more than {max_count:,} values")
    try:
        return orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the JSON cannot be parsed: {error}") from None


def parse_object(body: bytes | bytearray, limits: Limits, more: int = 0) -> dict[str, Any]:
    """Parse a JSON object, as `parse_json`."""
    parsed = parse_json(body, limits, more)
    if not isinstance(parsed, dict):
        raise MalformedRequest(f"the JSON body is a {type(parsed).__name__}; expected an object")
    return parsed


def max_values(limits: Limits) -> int:
    """Commas and brackets in the JSON of the largest request, twice over for the ones inside of words."""
    per_class, per_point = limits.max_synonyms + 5, 4
    per_prompt = limits.max_prompt_points * per_point + 8
    return 2 * limits.max_classes * per_class + limits.max_prompts * per_prompt + 1000
