"""Text rows in Redis, which workers share: MGET to read, pipelined SET with a time to live to write.

    value = "LXTR" | version u8 | bytes of a number u8 | numbers u32 | HMAC-SHA256 | row, little-endian fp16

The HMAC covers the key in Redis, the header and the row, so that a row under another text's key is refused. Without
LEXISEG_TEXT_ROWS_KEY anyone can compute it: then it finds damage and not forgery.
"""

from __future__ import annotations

import hmac
import struct
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any

from lexiseg_service.redis_link import RedisAway, RedisLink
from lexiseg_service.worker.job import RowsByText

TTL_SECONDS = 30 * 86400  # of a row in Redis
PREFIX = "lexiseg:text:v2:"
HEADER = struct.Struct("<4sBBI")
MAC_BYTES = 32
MAX_KEYS = 1024  # of one round trip: 0.8 MB of rows of 384 numbers


def key_of(tower: str, text: str) -> str:
    """The key in Redis of one text's row; models with the same text tower share it."""
    # A lone surrogate is valid in JSON, so it must be encoded too.
    return PREFIX + blake2b(f"{tower}\0{text}".encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


def encode(secret: bytes, key: str, row: bytes) -> bytes:
    header = HEADER.pack(b"LXTR", 2, 2, len(row) // 2)
    return header + hmac.digest(secret, key.encode() + header + row, "sha256") + row


def decode(secret: bytes, key: str, value: Any) -> bytes | None:
    """The row of a value; None if it is absent, foreign, damaged, or signed for another text or with another secret."""
    if not isinstance(value, bytes):
        return None
    row = value[HEADER.size + MAC_BYTES :]
    return row if row and hmac.compare_digest(value, encode(secret, key, row)) else None


class RedisRows:
    """Rows of all text towers in Redis. While Redis fails nothing is found and nothing is kept."""

    def __init__(self, link: RedisLink, secret: bytes) -> None:
        self.link = link
        self._secret = secret

    def find(self, tower: str, texts: list[str], row_bytes: int) -> tuple[RowsByText, int]:
        """Rows of a length that Redis holds, and for how many texts it failed or held no valid row."""
        rows: RowsByText = {}
        errors = 0
        for start in range(0, len(texts), MAX_KEYS):
            keys = {key_of(tower, text): text for text in texts[start : start + MAX_KEYS]}
            try:
                values = self.link.call(partial(_read, keys=list(keys)))
            except RedisAway:
                return rows, errors + len(texts) - start
            decoded = {keys[key]: decode(self._secret, key, value) for key, value in values.items()}
            valid = {text: row for text, row in decoded.items() if row is not None and len(row) == row_bytes}
            rows |= valid
            errors += len(values) - len(valid)
        return rows, errors

    def write(self, tower: str, rows: RowsByText) -> None:
        keys = {key_of(tower, text): row for text, row in rows.items()}
        values = {key: encode(self._secret, key, row) for key, row in keys.items()}
        with suppress(RedisAway):  # other workers encode them themselves
            self.link.call(partial(_write, values=values))


def _read(client: Any, keys: list[str]) -> dict[str, Any]:
    """Values that are there; raises where the answer is not a list of their length."""
    return {key: value for key, value in zip(keys, client.mget(keys), strict=True) if value is not None}


def _write(client: Any, values: dict[str, bytes]) -> None:
    pipeline = client.pipeline(transaction=False)
    for key, value in values.items():
        pipeline.set(key, value, ex=TTL_SECONDS)
    pipeline.execute()
