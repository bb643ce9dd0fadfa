"""The name under which an image can be asked about again, and by which it finds its worker."""

from __future__ import annotations

import hashlib

HASHED_AT_ONCE = 256 * 2**10  # bytes; more of them are hashed beside the event loop


def image_id_of(image: bytes) -> str:
    """128 bits of the encoded image's digest, in hexadecimal."""
    return hashlib.sha256(image).hexdigest()[:32]
