"""Requests in raw bytes, whole and half."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from tests import pictures
from tests.service.gateway.rest.raw import HEAD

SHORT: dict[str, Any] = {"head_seconds": 0.3, "body_seconds": 0.3}
QUESTION = json.dumps({"classes": ["sky"], "image": {"base64": b64encode(pictures.encoded(pictures.small())).decode()}})
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(QUESTION), QUESTION.encode())
HALF = HEAD + b"Content-Length: 100000\r\n\r\n{"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(QUESTION), QUESTION.encode())
