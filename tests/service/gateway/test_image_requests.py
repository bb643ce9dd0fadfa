import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from lexiseg_model.types import Vocabulary
from lexiseg_service.errors import DeadlineExceeded, InvalidValue, QueueFull, RateLimited, ServiceError
from lexiseg_service.gateway.by_example import MAX_REPETITION, ExampleDesk
from lexiseg_service.gateway.image_requests import gather_limited
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.image.reader import HeaderReader, Images
from lexiseg_service.question.backend import Exemplified
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.question.schemas import ClassInput, ExampleInput
from lexiseg_service.settings import Limits

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


PICTURE = bytes(1000)


class OnePicture:
    """Keeps the same small picture of every image."""

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        regions = tuple(shown.region for shown in request.regions)
        return Exemplified("image", "digest", (b"",) * len(regions), PICTURE, regions)


async def unfetched(_: str, client: str) -> bytes:
    raise AssertionError("no example has a URL")


def shown(n_examples: int) -> VocabularyInput:
    """A class with so many examples in one image."""
    example = ExampleInput.model_validate({"image": {"id": "0" * 32}, "box": [1, 1, 9, 9]})
    return VocabularyInput(classes=[ClassInput.model_validate({"name": "cup", "examples": [example] * n_examples})])


LIMITS = Limits()


@pytest.fixture(autouse=True)
def _one_picture_may_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "max_example_bytes", len(PICTURE))


async def kept(n_examples: int) -> VocabularyInput:
    desk = ExampleDesk(OnePicture().exemplify, LIMITS, Images(unfetched, HeaderReader(LIMITS)))
    return await desk.stored_form(shown(n_examples), WorkerRequest(None, Vocabulary(()), "tiny"))


async def test_an_image_may_hold_several_examples() -> None:
    (entry,) = (await kept(MAX_REPETITION)).classes

    assert isinstance(entry, ClassInput)
    assert all(example.image is not None and example.image.base64 for example in entry.examples)


async def test_a_picture_is_not_kept_with_countless_examples() -> None:
    with pytest.raises(InvalidValue, match="5,000 bytes of pictures, each as often as it has examples"):
        await kept(MAX_REPETITION + 1)
