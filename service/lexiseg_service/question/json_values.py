"""JSON from clients, parsed behind a bound on its size."""

from __future__ import annotations

from typing import Any

import orjson

from lexiseg_service.errors import MalformedRequest, TooLarge
from lexiseg_service.settings import Limits


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
