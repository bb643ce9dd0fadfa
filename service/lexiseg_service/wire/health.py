"""The standard gRPC health service, asked for the state of each name when it is needed.

Not grpcio's own: one watcher that reads nothing would hold up all others there, and watches would last until the end
of a drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

Response = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Health of names; a watch looks for changes every so many seconds.

    Args:
        now: whether each name is served; "" is the whole server.
        seconds: between two looks of a watch.
    """

    def __init__(self, now: Callable[[], Mapping[str, bool]], seconds: float) -> None:
        self._now = now
        self._seconds = seconds
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every watch after it has sent the present state."""
        self._closing.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:
        """The present state of a name."""
        status = self._status(request.service)
        if status == Response.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service of this name")
        return Response(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        """The present state of a name, and each change."""
        sent = None
        while True:
            last = self._closing.is_set()
            status = self._status(request.service)
            if status != sent:
                await context.write(Response(status=status))
                sent = status
            if last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._seconds)

    def _status(self, name: str) -> Any:
        served = self._now().get(name)
        if served is None:
            return Response.SERVICE_UNKNOWN
        return Response.SERVING if served else Response.NOT_SERVING
