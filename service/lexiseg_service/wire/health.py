"""The standard health service, for one who may ask without a key, and may not read what is answered.

grpcio's own keeps every watcher of a name waiting while one of them takes no answer, and with them whoever tells of a
change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
WORD = {True: SERVING, False: NOT_SERVING}


class Health(health_pb2_grpc.HealthServicer):
    """What it says to whoever asks is so now; who watches hears of it when `look` finds it changed.

    Args:
        now: whether each name that may be asked for is served; "" is the whole server.
    """

    def __init__(self, now: Callable[[], Mapping[str, bool]]) -> None:
        self._now = now
        self._seen: dict[str, bool] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """End every watch, after it has told what is so now."""
        self._closed = True
        self._changed.set()

    def look(self) -> None:
        """Tells those who watch what has changed; waits for none of them."""
        if (now := self._told()) != self._seen:
            self._seen = now
            self._changed.set()
            self._changed = asyncio.Event()

    def _told(self) -> dict[str, bool]:
        """Names that are gone are not served."""
        return {**dict.fromkeys(self._seen, False), **self._now()}

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:
        """What is so now."""
        now = self._told()
        if request.service not in now:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service of this name")
        return health_pb2.HealthCheckResponse(status=WORD[now[request.service]])

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        """What is so now, and each change."""
        said = None
        while True:
            changed, served = self._changed, self._told().get(request.service)
            status = UNKNOWN if served is None else WORD[served]
            if status != said:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                said = status
                continue  # it may have changed meanwhile
            if self._closed:
                return
            await changed.wait()
