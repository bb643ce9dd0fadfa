"""The name under which an image can be asked about again, and by which it finds its worker."""

from __future__ import annotations

import hashlib


def image_id_of(image: bytes) -> str:
    """128 bits of the encoded image's digest, in hexadecimal."""
    return hashlib.sha256(image).hexdigest()[:32]
