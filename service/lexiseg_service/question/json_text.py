"""JSON from clients: orjson behind a bound on the number of values."""

from __future__ import annotations

from typing import Any

import orjson

from lexiseg_service.errors import MalformedRequest, TooLarge
from lexiseg_service.settings import Limits


def parse_json(text: str | bytes | bytearray, limits: Limits) -> Any:
    """Parse any JSON value.

    Raises:
        TooLarge: more values than the largest request needs; each takes a hundred bytes or more once parsed.
        MalformedRequest: not JSON.
    """
    encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if sum(encoded.count(mark) for mark in (b",", b"[", b"{")) > max_values(limits):
        raise TooLarge(f"the JSON holds more than {max_values(limits):,} values")
    try:
        return orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the JSON cannot be parsed: {error}") from None


def parse_object(body: bytes | bytearray, limits: Limits) -> dict[str, Any]:
    """Parse a body that is a JSON object.

    Raises:
        TooLarge: more values than the largest request needs.
        MalformedRequest: not JSON, or no object.
    """
    parsed = parse_json(body, limits)
    if not isinstance(parsed, dict):
        raise MalformedRequest(f"the JSON body is a {type(parsed).__name__}; expected an object")
    return parsed


def max_values(limits: Limits) -> int:
    """Commas and brackets in the JSON of the largest request that the limits allow; twice over for those in words."""
    of_a_class, of_a_point = limits.max_synonyms + 5, 4
    of_a_prompt = limits.max_prompt_points * of_a_point + 8
    return 2 * limits.max_classes * of_a_class + limits.max_prompts * of_a_prompt + 1000
