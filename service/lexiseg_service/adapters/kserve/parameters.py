"""What a request's parameters mean: fields of the question. Shared by REST and gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexiseg_service.question.json_text import parse_json
from lexiseg_service.settings import Limits

PLAIN = ("vocabulary", "task", "threshold", "refine", "max_side")
STRUCTURED = ("background", "classes", "prompts")  # JSON in a string


def fields_of(parameters: Mapping[str, Any], classes: list[str] | None, limits: Limits) -> dict[str, Any]:
    """A question's fields, of a request's parameters and its tensor of words."""
    fields = {name: parameters[name] for name in PLAIN if name in parameters}
    for name in STRUCTURED:
        if name in parameters:
            sent = parameters[name]
            fields[name] = parse_json(sent, limits) if isinstance(sent, str) else sent
    return fields if classes is None else {**fields, "classes": classes}
