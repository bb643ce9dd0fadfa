"""JSON from clients: parsed behind a bound on its size, validated by pydantic, errors as fields and expectations.

Small texts are parsed on the event loop, large ones in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from lexiseg_service.errors import InvalidValue, MalformedRequest, TooLarge
from lexiseg_service.settings import Limits

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
MAX_BYTES_ON_EVENT_LOOP = 256 * 2**10
# One thread a process: parsing holds the GIL, so that a second thread gains nothing and delays the event loop.
_PARSER = ThreadPoolExecutor(1, "parse")
MAX_COMPARED = 80  # characters of an unknown name that is compared with known ones
# Names that pydantic adds to a location for a member of a union.
MODEL_MEMBERS = {"ClassInput", "TaughtClassInput", "BackgroundInput"}
PLAIN_MEMBERS = {"bool", "constrained-str", "str"}
# pydantic's error types with Python's names of types in the message.
EXPECTED_TYPES = {
    "model_type": "a JSON object",
    "model_attributes_type": "a JSON object",
    "dataclass_type": "a JSON object",
    "list_type": "a JSON list",
    "string_unicode": "text in UTF-8, or in the encoding of the locale (LC_ALL)",
}
IMAGE = 'a JSON object: {"base64": ...}, {"url": ...} or {"id": ...}'


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
        # Lists fail fast: all errors of tens of thousands of classes would hold the GIL for a second.
        findings = _of_intended_member(error.errors(include_url=False))
    raise InvalidValue.together(_as_invalid_value(finding, schema, prefix) for finding in findings)


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


def _as_invalid_value(finding: Any, schema: type[BaseModel], prefix: str) -> InvalidValue:
    field = ".".join(str(part) for part in finding["loc"] if part not in MODEL_MEMBERS | PLAIN_MEMBERS)
    value = finding["input"] if finding["type"] != "missing" else None
    return InvalidValue.of(prefix + field, value, _expected(finding, schema))


def _of_intended_member(findings: list[Any]) -> list[Any]:
    """For a union of a plain type and an object, only the errors of the member that the client sent."""
    not_an_object = [
        finding for finding in findings if finding["type"] == "model_type" and finding["loc"][-1] in MODEL_MEMBERS
    ]
    rest = [finding for finding in findings if finding not in not_an_object]
    objects = {
        finding["loc"][: finding["loc"].index(name)] for finding in rest for name in MODEL_MEMBERS & set(finding["loc"])
    }
    return [finding for finding in rest if not (finding["loc"][:-1] in objects and finding["loc"][-1] in PLAIN_MEMBERS)]


def _expected(finding: Any, schema: type[BaseModel]) -> str:
    if finding["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"no field of that name{_similar_field(finding['loc'], schema)}"
    if finding["type"] == "missing":
        return "a value; the field is missing"
    if finding["type"] in ("model_type", "model_attributes_type") and finding["loc"] == ("image",):
        return IMAGE
    if finding["type"] in EXPECTED_TYPES:
        return EXPECTED_TYPES[finding["type"]]
    if finding["type"] == "too_short":
        return f"at least {finding['ctx']['min_length']} items"
    if finding["type"] == "too_long":
        return f"at most {finding['ctx']['max_length']} items"
    message: str = finding["msg"]
    for beginning in ("Input should be ", "Value error, ", "String should have "):
        message = message.removeprefix(beginning)
    return message


def _similar_field(location: tuple[Any, ...], schema: type[BaseModel]) -> str:
    """A suggestion for an unknown top-level field."""
    if len(location) != 1:
        return ""
    similar = get_close_matches(str(location[0])[:MAX_COMPARED], schema.model_fields, 1)
    return f"; is `{similar[0]}` meant?" if similar else ""
