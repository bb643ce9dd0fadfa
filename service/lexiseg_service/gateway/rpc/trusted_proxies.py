"""What a trusted proxy in front of the gateway says about a gRPC call.

uvicorn does the same for HTTP: both trust the proxies that `FORWARDED_ALLOW_IPS` names, by default 127.0.0.1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

FORWARDED_FOR = "x-forwarded-for"
MESSAGE_PREFIX = "x-message-prefix"  # the first bytes of the first message, in hexadecimal digits
# Not compressed, and its length (gRPC over HTTP/2, Length-Prefixed-Message).
PLAIN_MESSAGE = re.compile("00([0-9A-Fa-f]{8})")


class TrustedProxies:
    """Reads what the trusted ones say, by uvicorn's own rules."""

    def __init__(self) -> None:
        async def nothing(*_: object) -> None:
            """The application behind the middleware: only what becomes of the scope counts."""

        trusted = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
        self._middleware = ProxyHeadersMiddleware(cast("Any", nothing), trusted)

    async def address(self, peer: str | None, metadata: Mapping[str, str]) -> str | None:
        """The address of the client: the peer's, or that which the peer names if it is a trusted proxy."""
        headers = [(name.encode(), value.encode()) for name, value in metadata.items() if name == FORWARDED_FOR]
        scope: Any = {"type": "http", "scheme": "http", "client": (peer, 0), "headers": headers}
        await self._middleware(scope, cast("Any", None), cast("Any", None))
        address: str | None = scope["client"][0]
        return address

    def announced_bytes(self, peer: str | None, metadata: Mapping[str, str]) -> int | None:
        """The length of the first message, if a trusted proxy has seen its beginning."""
        if peer not in self._middleware.trusted_hosts:
            return None
        if (plain := PLAIN_MESSAGE.fullmatch(metadata.get(MESSAGE_PREFIX, ""))) is None:
            return None
        return int(plain[1], 16)
