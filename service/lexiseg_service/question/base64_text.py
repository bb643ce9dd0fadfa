"""Base64 without Python's lock: with it, 26 MB keep all else in the process waiting for a tenth of a second."""

from __future__ import annotations

import base64
import binascii

import pybase64

QUAD = 4  # characters that stand for three bytes
MOST_PADDED = 2 * QUAD  # the last of them, and padding behind it that some write though none is due


def decoded(text: str) -> bytes:
    """What base64 without line breaks stands for (RFC 4648).

    Raises:
        ValueError: it is none.
    """
    if len(text) % QUAD == 0 and not text.endswith("=" * (QUAD - 1)):  # as nearly all is
        return pybase64.b64decode(text, validate=True)
    padding = text.find("=")
    n_plain = len(text) if padding < 0 else padding
    last = max(0, n_plain - n_plain % QUAD - QUAD)  # with the padding goes what it fills up
    if len(text) - last > MOST_PADDED:
        raise binascii.Error("more padding than can be due")
    return pybase64.b64decode(text[:last], validate=True) + base64.b64decode(text[last:], validate=True)
