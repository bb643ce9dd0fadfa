"""Arrays with a header, in bytes that show whether they are damaged: what is kept of lessons and heads.

MAGIC, the SHA-256 of the rest, the length of a header, the header as JSON, the arrays one by one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import TeachingError

MAX_BYTES = 2**20
MAGIC = b"lexiseg1"  # the last byte is the version of the layout
START = len(MAGIC) + hashlib.sha256().digest_size  # of the rest


class Layout(NamedTuple):
    """What an array must be: numpy's short name of its numbers, little-endian, and the number of its axes."""

    numbers: str
    axes: int


def pack(kind: str, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The header `about` and the arrays, as bytes of a kind."""
    layout = {name: [array.dtype.str[1:], *array.shape] for name, array in arrays.items()}
    header = json.dumps({"kind": kind, "about": about, "arrays": layout}, ensure_ascii=False).encode()
    rest = b"".join([len(header).to_bytes(4, "little"), header, *(array.tobytes() for array in arrays.values())])
    return MAGIC + hashlib.sha256(rest).digest() + rest


def unpack(
    kind: str, content: bytes, expected: Mapping[str, Layout], optional: Mapping[str, Layout] = {}
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays of `pack`, these of the expected layouts, not empty, and finite.

    `optional` arrays may be missing.

    Raises:
        TeachingError: of another kind or version, too large, damaged, or with other arrays.
    """
    if len(content) > MAX_BYTES:
        raise TeachingError(f"expected a {kind} of at most {MAX_BYTES} bytes, got {len(content)}")
    magic, digest, rest = content[: len(MAGIC)], content[len(MAGIC) : START], content[START:]
    if magic != MAGIC and magic[:-1] == MAGIC[:-1]:
        raise TeachingError(f"expected a {kind} of this release's layout, got one of another: send the pictures again")
    if magic != MAGIC or hashlib.sha256(rest).digest() != digest:
        raise TeachingError(f"expected a {kind}, got bytes that are none, or damaged")
    start = 4 + int.from_bytes(rest[:4], "little")
    try:
        header = json.loads(rest[4:start])
        own_kind, about, layouts = header["kind"], header["about"], header["arrays"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise TeachingError(f"expected a {kind}, got bytes with a header that cannot be read ({error})") from None
    if own_kind != kind or not isinstance(about, dict):
        raise TeachingError(f"expected a {kind}, got a {str(own_kind)[:40]}")
    try:
        return about, _read_arrays(layouts, rest[start:], expected, optional)
    except (AttributeError, TypeError, ValueError) as error:
        raise TeachingError(f"expected a {kind}, got one of other arrays ({error})") from None


def _read_arrays(
    layouts: Any, content: bytes, expected: Mapping[str, Layout], optional: Mapping[str, Layout]
) -> dict[str, NDArray[Any]]:
    """The arrays of a header's layouts. Raises AttributeError, TypeError or ValueError: they are not as expected."""
    own = {name: Layout(numbers, len(shape)) for name, (numbers, *shape) in layouts.items()}
    if not expected.items() <= own.items() <= {**expected, **optional}.items():
        raise ValueError(f"expected {', '.join(expected)}")
    arrays, start = {}, 0
    for name, (numbers, *shape) in layouts.items():
        if not all(type(side) is int and side > 0 for side in shape):
            raise ValueError(f"{name}: expected sides of at least 1")
        dtype = np.dtype(f"<{numbers}")
        end = start + math.prod(shape) * dtype.itemsize
        if end > len(content):
            raise ValueError(f"{name} ends before its last number")
        arrays[name] = np.frombuffer(content[start:end], dtype).reshape(shape)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: expected finite numbers")
        start = end
    if start < len(content):
        raise ValueError(f"{len(content) - start} bytes behind the last one")
    return arrays
