"""How many values a message holds, counted in its bytes: parsed, each costs a hundred times what it takes there.

The wire's own form (https://protobuf.dev/programming-guides/encoding): a tag of number and type, then the value.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor

AS_BYTES = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})


def has_more_values(content: bytes, kind: Descriptor, most: int) -> bool:
    """Whether a message has more than `most` values, those of its parts among them. What is no message has few."""
    levels = [(0, len(content), kind)]
    count = 0
    try:
        while levels:
            at, end, level = levels.pop()
            while at < end:
                count += 1
                if count > most:
                    return True
                tag, at = _varint(content, at)
                length = 0
                match tag & 7:
                    case 0:
                        _, at = _varint(content, at)
                    case 1:
                        at += 8
                    case 5:
                        at += 4
                    case 2:
                        length, at = _varint(content, at)
                if not length:
                    continue
                part = level.fields_by_number.get(tag >> 3)
                if part is not None and part.message_type is not None:
                    levels += [(at + length, end, level), (at, min(at + length, end), part.message_type)]
                    break
                if part is not None and part.type not in AS_BYTES:
                    count += length  # packed: a value a byte, at most
                at += length
    except IndexError:
        pass
    return count > most


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80 or shift > 63:
            return number, at
        shift += 7
