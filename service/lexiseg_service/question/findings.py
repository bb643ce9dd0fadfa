"""What pydantic found wrong in a request, as fields and expectations."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from lexiseg_service.errors import InvalidValue

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


def invalid_value(error: ValidationError, schema: type[BaseModel], prefix: str) -> InvalidValue:
    """The errors of values that do not fit a schema; `prefix` goes before the names of wrong fields."""
    # Lists fail fast: all errors of tens of thousands of classes would hold the GIL for a second.
    findings = _of_intended_member(error.errors(include_url=False))
    return InvalidValue.together(_as_invalid_value(finding, schema, prefix) for finding in findings)


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
