"""JSON as every writer of labels has it: compact, UTF-8, and so that JavaScript's `JSON.stringify` writes the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SCORE_DECIMALS = 4


def rounded(value: float, digits: int) -> float:
    """A number of at most `digits` decimals, halves up as `Math.floor(value * 10 ** digits + 0.5)` has them."""
    scale = 10**digits
    number = math.floor(value * scale + 0.5) / scale
    return int(number) if number.is_integer() else number  # JavaScript writes 1.0 as 1


def json_text(value: Any) -> str:
    """A value on one line; names that are not UTF-8 as JSON's escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace").decode()


def json_file(members: Mapping[str, Any]) -> Iterator[bytes]:
    """An object with one member a line; an iterator is a list with one entry a line, and is never held."""
    for place, (name, value) in enumerate(members.items()):
        yield ("," if place else "{").encode() + f"\n{json_text(name)}:".encode()
        if isinstance(value, Iterator):
            yield from json_list(value)
        else:
            yield json_text(value).encode()
    yield b"\n}\n"


def json_list(entries: Iterable[Any]) -> Iterator[bytes]:
    yield b"["
    for place, entry in enumerate(entries):
        yield ((",\n" if place else "\n") + json_text(entry)).encode()
    yield b"\n]"
