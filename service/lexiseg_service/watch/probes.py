"""/livez, /readyz and /metrics, the same in gateway and worker; whether what a gateway writes to can be written to.

A worker needs no FastAPI for them. What is written to is tried every few seconds, for `degraded` of /readyz.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.question.backend import Health

if TYPE_CHECKING:  # commands without a server start without gRPC
    from lexiseg_service.wire.server import GrpcServer

CHECK_SECONDS = 2.0  # between two tries
SILENT_SECONDS = 5.0  # after which a try that has not ended is a problem
DISK_BYTES = 2**16  # that a disk must have room for
Check = Callable[[], object]  # blocks; the text of what it raises says what is wrong


class Checks:
    """The checks of one gateway, by the names of what they write to."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._tries: dict[str, asyncio.Future[object]] = {}  # a silent disk gets no second thread
        self._problems: dict[str, str] = {}

    def add(self, name: str, check: Check) -> None:
        """Add a check, before the first try."""
        self._checks[name] = check

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is wrong, as `NAME: reason`."""
        return tuple(f"{name}: {problem}" for name, problem in sorted(self._problems.items()))

    async def repeat(self) -> None:
        """Try all of them, for ever."""
        while True:
            await asyncio.gather(*map(self._try, self._checks))
            await asyncio.sleep(CHECK_SECONDS)

    async def _try(self, name: str) -> None:
        if name not in self._tries:
            self._tries[name] = asyncio.ensure_future(asyncio.to_thread(self._checks[name]))
        completed, _ = await asyncio.wait([self._tries[name]], timeout=SILENT_SECONDS)
        if not completed:
            self._problems[name] = "does not answer"
        elif (error := self._tries.pop(name).exception()) is not None:
            self._problems[name] = getattr(error, "strerror", None) or str(error)
        else:
            self._problems.pop(name, None)


def check_folder(folder: Path) -> None:
    """Write a file without a name in a folder. Raises OSError: the disk is full, or takes no writes."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(bytes(DISK_BYTES))


async def get_liveness(request: Request) -> Response:
    """Return 200 unless the process needs a restart, with the port of gRPC."""
    health: Health = request.app.state.use_case.health()
    grpc: GrpcServer = request.app.state.grpc
    status = "alive" if health.alive else "dead"
    return _health(health.alive, {"status": status, "detail": health.detail, "grpc_port": grpc.port or None})


async def get_readiness(request: Request) -> Response:
    """Return 200 once requests are answered; the body names degraded parts."""
    health: Health = request.app.state.use_case.health()
    status = "ready" if health.ready else "not ready"
    return _health(health.ready, {"status": status, "detail": health.detail, "degraded": health.degraded})


async def get_metrics(request: Request) -> Response:
    """Return the text exposition format, with exemplars if the client accepts OpenMetrics."""
    content, media_type = await request.app.state.metrics.rendered(request.headers.get("accept", ""))
    return Response(content, media_type=media_type)


def _health(good: bool, content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), 200 if good else 503, media_type="application/json")
