import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from lexiseg_service.errors import DeadlineExceeded, QueueFull, RateLimited, ServiceError
from lexiseg_service.gateway.image_requests import gather_limited

LATER = time.monotonic() + 3600
N_IMAGES = 50


class Worker:
    """Has room for so many images at a time; `refusal` is what others get."""

    def __init__(self, room: int, refusal: type[ServiceError] = QueueFull) -> None:
        self._room = room
        self._refusal = refusal
        self.refused = 0

    async def look(self, image: int) -> int:
        if not self._room:
            self.refused += 1
            await asyncio.sleep(0)
            raise self._refusal("no room")
        self._room -= 1
        await asyncio.sleep(0)
        self._room += 1
        return image

    def asks(self, n_images: int = N_IMAGES) -> list[Callable[[], Awaitable[int]]]:
        return [partial(self.look, image) for image in range(n_images)]


@pytest.mark.parametrize("refusal", [QueueFull, RateLimited])
async def test_an_image_without_room_waits_for_the_others(refusal: type[ServiceError]) -> None:
    worker = Worker(1, refusal)

    assert await gather_limited(worker.asks(), LATER) == [*range(N_IMAGES)]
    assert worker.refused


async def test_without_room_for_any_image_the_request_is_refused_at_once() -> None:
    worker = Worker(0)

    with pytest.raises(QueueFull, match="no room"):
        await gather_limited(worker.asks(), LATER)
    assert worker.refused < N_IMAGES


async def test_after_the_deadline_the_error_says_how_many_images_were_answered() -> None:
    worker, full = Worker(1), Worker(0)
    first, *others = worker.asks(1) + full.asks(9)

    with pytest.raises(DeadlineExceeded, match="1 of 10 images were answered: send it again, or fewer at a time"):
        await gather_limited([first, *others], time.monotonic())
