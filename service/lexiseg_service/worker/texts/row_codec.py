"""How one row of the text tower is written down outside this process.

    value = "LXTR" | version u8 | type u8 | numbers in the row u16 | checksum of 16 bytes | the row, fp16 little-endian

The checksum is keyed with the row's address, so that a row under another text's key is no row either.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Any

PREFIX = "lexiseg:text:v1:"
VERSION = 1
FP16 = 1
HEADER = struct.Struct("<4sBBH")
CHECKSUM = 16
ITEM = 2  # bytes of an fp16


def address(tower: str, text: str) -> bytes:
    """32 bytes that name one text under one text tower."""
    # JSON may hold half a surrogate pair; it is a string like any other.
    return blake2b(f"{tower}\0{text}".encode("utf-8", "surrogatepass"), digest_size=32).digest()


def key(address: bytes) -> str:
    """Where the row is kept."""
    return PREFIX + address.hex()


def encode(address: bytes, row: bytes) -> bytes:
    """The value of one fp16 row."""
    return HEADER.pack(b"LXTR", VERSION, FP16, len(row) // ITEM) + _checksum(address, row) + row


def decode(address: bytes, value: Any, width: int) -> bytes | None:
    """The row of `width` fp16 numbers in a value, or None: foreign, damaged, of another length, type or text."""
    if not isinstance(value, bytes) or len(value) != HEADER.size + CHECKSUM + ITEM * width:
        return None
    row = value[HEADER.size + CHECKSUM :]
    return row if value == encode(address, row) else None


def _checksum(address: bytes, row: bytes) -> bytes:
    return blake2b(row, digest_size=CHECKSUM, key=address).digest()
