"""JSON from outside, parsed only where it cannot fill the memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lexiseg_service.errors import MalformedRequest, TooLarge
from lexiseg_service.question.long_texts import LongTexts
from lexiseg_service.settings import Limits

SELDOM = 32  # characters to one that is escaped; some encoders escape the + of base64, one in 64
MOST_NAMES = 256  # of one object
LONGEST_NAME = 1024  # characters
MOST_DIGITS = 1000  # of a whole number; Python takes the square of their count to read them, and again to show them
TOO_LONG = b"0" * (MOST_DIGITS + 1)
AS_DIGITS = bytes(ord("0") if ord("0") <= character <= ord("9") else 0 for character in range(256))
ENCODED = frozenset({"base64"})  # names of fields whose schemas take either


def parse_json(text: str | bytes | bytearray, limits: Limits) -> Any:
    """Any JSON value, unless it holds more than a request can need. A long text of base64 in a field of `ENCODED` is
    there as what it stands for.

    Raises:
        TooLarge: it does: more values, or more of them in one object, more characters as \\uXXXX, or more bytes beside
            long texts of base64.
        MalformedRequest: not JSON, a name that is no name, so long is it, or one twice in one object: others might read
            the other value.
    """
    encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    escapes = most_escapes(limits, len(encoded))
    texts = LongTexts(encoded, most_beside(limits), escapes)
    if texts.n_escapes > escapes:
        raise TooLarge(f"the JSON holds more than {escapes:,} escaped characters")
    if len(texts.rest) > most_beside(limits):
        raise TooLarge(f"the JSON holds more than {most_beside(limits):,} bytes beside long texts of base64")
    # Each value costs a hundred bytes or more once parsed: a small body could otherwise fill the memory.
    if sum(texts.rest.count(mark) for mark in (b",", b"[", b"{")) > most_values(limits):
        raise TooLarge(f"the JSON holds more than {most_values(limits):,} values")
    try:
        # Python's parser lets NaN through, so that validation can name the field that holds it.
        return texts.put_back(
            json.loads(texts.rest, object_pairs_hook=_each_once, parse_int=_numbers(texts.rest)), ENCODED
        )
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"the JSON cannot be parsed: {error.msg}: char {texts.place(error.pos)}") from None
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"the JSON cannot be parsed: {str(error)[:120]}") from None


def parse_object(body: bytes | bytearray, limits: Limits) -> dict[str, Any]:
    """The JSON object that a body is.

    Raises:
        TooLarge: it holds more values than a request can need.
        MalformedRequest: not JSON, or no object.
    """
    parsed = parse_json(body, limits)
    if not isinstance(parsed, dict):
        raise MalformedRequest(f"the JSON body is a {type(parsed).__name__}; expected an object")
    return parsed


def _numbers(text: bytes) -> Callable[[str], int] | None:
    """What reads whole numbers; None: Python itself, in a twentieth of the time."""
    return _whole if TOO_LONG in text.translate(AS_DIGITS) else None


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits; expected at most {MOST_DIGITS}")
    return int(digits)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_NAMES:  # of each that means nothing its sender would be told
        raise TooLarge(f"an object of the JSON holds more than {MOST_NAMES} names")
    values: dict[str, Any] = {}
    for name, value in pairs:
        if len(name) > LONGEST_NAME:
            raise ValueError(f"a name of {len(name):,} characters; expected at most {LONGEST_NAME:,}")
        if name in values:
            raise ValueError(f"{name[:40]!r} stands twice in one object")
        values[name] = value
    return values


def most_values(limits: Limits) -> int:
    """Commas and brackets in the JSON of the largest request that the limits allow; twice over for those in words."""
    of_a_class, of_a_point = limits.max_synonyms + 5, 4
    of_a_prompt = limits.max_prompt_points * of_a_point + 8
    return 2 * limits.max_classes * of_a_class + limits.max_prompts * of_a_prompt + 1000


def most_beside(limits: Limits) -> int:
    """Bytes of JSON beside long texts of base64: twice a question's, for those who set it apart with blanks.

    What parses more at once keeps everybody else waiting for longer.
    """
    return 2 * limits.max_question_bytes


def most_escapes(limits: Limits, n_bytes: int) -> int:
    """Characters as \\uXXXX in a request of so many bytes: all of its texts, and a few of its base64.

    Each takes ten times as long as one that stands for itself, and nothing else can use Python meanwhile.
    """
    return 2 * limits.max_text_bytes + n_bytes // SELDOM
