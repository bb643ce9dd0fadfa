"""A question that is refused after a while is gone with its answer: its picture does not wait for the collector."""

from __future__ import annotations

import asyncio
import gc
import weakref

from lexiseg_service.errors import QueueFull
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import form, serving


class Late(KnownBackend):
    """Refuses by a future, as an engine does."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[weakref.ref[WorkerRequest]] = []

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.left.append(weakref.ref(request))
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[WorkerAnswer] = loop.create_future()
        loop.call_soon(answer.set_exception, QueueFull("full", 1))
        try:
            return await answer
        finally:
            del answer


async def test_of_what_is_refused_nothing_is_left() -> None:
    backend = Late()
    async with serving(backend=backend) as client:
        gc.collect()
        gc.disable()
        try:
            statuses = [(await client.post("/segment", files=form("sky"))).status_code for _ in range(3)]
            async with asyncio.timeout(20):
                while any(left() is not None for left in backend.left):
                    await asyncio.sleep(0)
        finally:
            gc.enable()

    assert statuses == [429] * 3
