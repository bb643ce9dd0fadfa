"""Elements of the protocol's type BYTES: each with its length in front, or as strings of JSON."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from lexiseg_service.errors import InvalidValue

LENGTH = struct.Struct("<I")  # in front of each element


def packed(values: Iterable[bytes]) -> bytes:
    """The elements of a tensor as they are sent."""
    return b"".join(LENGTH.pack(len(value)) + value for value in values)


def unpacked(raw: bytes, field: str, most: int) -> list[bytes]:
    """The elements of a tensor of BYTES.

    Raises:
        InvalidValue: their lengths do not fill it, or they are more than `most`.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(raw):
        if len(parts) == most:
            raise InvalidValue.of(field, f"more than {most} elements", f"at most {most}")
        if at + LENGTH.size > len(raw):
            raise InvalidValue.of(field, f"{len(raw)} bytes", "elements with their lengths in front, to the last byte")
        (length,) = LENGTH.unpack_from(raw, at)
        at += LENGTH.size
        if at + length > len(raw):
            raise InvalidValue.of(field, f"an element of {length} bytes", f"at most the {len(raw) - at} that are left")
        parts.append(raw[at : at + length])
        at += length
    return parts


def strings(data: list[Any], field: str) -> list[str]:
    """The elements of a tensor of BYTES in JSON, however deep its lists are.

    Raises:
        InvalidValue: one is no string.
    """
    flat: list[str] = []
    for entry in data:
        if isinstance(entry, list):
            flat += strings(entry, field)
        elif isinstance(entry, str):
            flat.append(entry)
        else:
            raise InvalidValue.of(field, entry, "strings")
    return flat
