"""Arrays with a header, in bytes that show whether they are damaged: what is kept of lessons and heads.

MAGIC, the SHA-256 of the rest, the length of a header, the header as JSON, the arrays one by one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import TeachingError

MAX_BYTES = 2**20
MAGIC = b"lexiseg1"
TYPES = {name: np.dtype(f"<{name}") for name in ("f2", "f4", "i2")}


def pack(kind: str, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The header `about` and the arrays, as bytes of a kind."""
    layout = {name: [array.dtype.str[1:], *array.shape] for name, array in arrays.items()}
    header = json.dumps({"kind": kind, "about": about, "arrays": layout}, ensure_ascii=False).encode()
    rest = b"".join([len(header).to_bytes(4, "little"), header, *(array.tobytes() for array in arrays.values())])
    return MAGIC + hashlib.sha256(rest).digest() + rest


def unpack(kind: str, content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays of `pack`. Raises TeachingError: of another kind, too large or damaged."""
    if len(content) > MAX_BYTES:
        raise TeachingError(f"expected a {kind} of at most {MAX_BYTES} bytes, got {len(content)}")
    magic, digest, rest = content[:8], content[8:40], content[40:]
    if magic != MAGIC or hashlib.sha256(rest).digest() != digest:
        raise TeachingError(f"expected a {kind}, got bytes that are none, or damaged")
    start = 4 + int.from_bytes(rest[:4], "little")
    try:
        header = json.loads(rest[4:start])
        if header["kind"] != kind:
            raise TeachingError(f"expected a {kind}, got a {header['kind']}")
        arrays = {}
        for name, (dtype, *shape) in header["arrays"].items():
            count = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(rest, TYPES[dtype], count, start).reshape(shape)
            start += arrays[name].nbytes
    except (KeyError, TypeError, ValueError) as error:
        raise TeachingError(f"expected a {kind}, got bytes that cannot be read ({error})") from None
    return header["about"], arrays
