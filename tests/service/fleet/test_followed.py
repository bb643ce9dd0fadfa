"""Followed objects survive the death of their worker, or are reported as lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from lexiseg_model.types import Prompt
from lexiseg_service.question.messages import Followed, FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from tests import pictures
from tests.model.stand_in import ColourSegmenter
from tests.model.video.moving import Corner, box, scene
from tests.service.engine_backend import EngineBackend
from tests.service.fleet.workers import SOON, Fleet, Someone, question, started

HERE, THERE = (4, 4), (40, 20)
FOLLOWING = StreamQuestion(question(None, task="prompt", deadline=float("inf")), frames_in_flight=1)


@dataclass
class Follows(Someone):
    """A worker with a real engine over colours."""

    engine: EngineBackend = field(
        default_factory=lambda: EngineBackend(
            ColourSegmenter(tasks=("semantic", "prompt")), settings=Settings(deadline_seconds=SOON)
        )
    )
    shown: list[tuple[int, ...]] = field(default_factory=list)  # numbers that each frame begins

    async def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        async with aclosing(self.engine.stream(self._noted(steps))) as answers:
            async for answer in answers:
                yield answer

    async def _noted(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncIterator[Any]:
        async for step in steps:
            if isinstance(step, VideoFrame):
                self.frames.append(step.id)
                self.shown.append(tuple(each.track_id for each in step.follow))
            else:
                self.questions.append(step)
            yield step


@pytest.fixture
def workers() -> Iterator[list[Follows]]:
    both = [Follows(), Follows()]
    yield both
    for worker in both:
        worker.engine.engine.close(SOON)


def frame(name: str, *follow: Followed, unfollow: tuple[int, ...] = (), **squares: Corner) -> VideoFrame:
    content = pictures.encoded(Image.fromarray(scene(**squares)))
    return VideoFrame(content, name, int(name), follow, unfollow)


def shows(number: int, corner: Corner) -> Followed:
    return Followed(number, Prompt(box=box(corner)))


async def with_a_death(fleet: Fleet, workers: list[Follows], after: str, *frames: VideoFrame) -> list[FrameAnswer]:
    """The answers to a stream whose worker hangs up after one of them; each frame is sent when the last is answered."""
    seen: list[FrameAnswer] = []
    answered = asyncio.Semaphore(0)

    async def steps() -> AsyncIterator[StreamQuestion | VideoFrame]:
        yield FOLLOWING
        for each in frames:
            yield each
            await answered.acquire()

    async with asyncio.timeout(3 * SOON), aclosing(fleet.backend.stream(steps())) as answers:
        async for answer in answers:
            seen.append(answer)
            if answer.frame_id == after:
                await fleet.end(next(index for index, worker in enumerate(workers) if worker.frames))
            answered.release()
    return seen


def numbers(answer: FrameAnswer) -> tuple[int | None, ...]:
    assert answer.answer is not None
    return answer.track_ids


async def test_an_object_is_followed_on_when_its_worker_dies(workers: list[Follows]) -> None:
    path = [(4 + 2 * step, 4 + step) for step in range(8)]
    sent = [frame("0", shows(7, path[0]), red=path[0])]
    sent += [frame(str(place), red=corner) for place, corner in enumerate(path) if place]
    async with started(*workers) as fleet:
        seen = await with_a_death(fleet, workers, "3", *sent)

    assert [answer.frame_id for answer in seen] == [each.id for each in sent]
    assert [answer.frame_id for answer in seen if answer.state_reset] == ["4"]
    assert [(numbers(answer), answer.lost) for answer in seen] == [((7,), ())] * len(sent)
    for answer, (x, y) in zip(seen, path, strict=True):
        assert answer.answer is not None
        (segment,) = answer.answer.segments
        assert abs(segment.bbox[0] - x) <= 2
        assert abs(segment.bbox[1] - y) <= 2
        assert (segment.prompt_index == 0) is (answer.frame_id == "0")
    second = next(worker for worker in workers if worker.frames[-1:] == ["7"])
    assert second.shown == [(7,), (), (), ()]


async def test_what_was_lost_when_its_worker_died_stays_lost_until_it_is_shown(workers: list[Follows]) -> None:
    names = iter(range(20))
    sent = [frame(str(next(names)), shows(1, HERE), shows(2, THERE), red=HERE, green=THERE)]
    sent += [frame(str(next(names)), green=THERE) for _ in range(5)]  # the red one is gone
    after = sent[-1].id
    sent += [frame(str(next(names)), red=HERE, green=THERE) for _ in range(2)]
    sent += [frame(str(next(names)), shows(1, HERE), red=HERE, green=THERE)]
    sent += [frame(str(next(names)), unfollow=(2,), red=HERE, green=THERE)]
    async with started(*workers) as fleet:
        seen = await with_a_death(fleet, workers, after, *sent)

    assert (numbers(seen[5]), seen[5].lost) == ((2,), (1,))
    assert [(numbers(answer), answer.lost) for answer in seen[6:8]] == [((2,), (1,))] * 2
    assert (set(numbers(seen[8])), seen[8].lost) == ({1, 2}, ())
    assert (numbers(seen[9]), seen[9].lost) == ((1,), ())


async def test_a_damaged_frame_after_the_death_costs_no_object(workers: list[Follows]) -> None:
    sent = [frame("0", shows(7, HERE), red=HERE), VideoFrame(b"no picture", "1"), frame("2", red=HERE)]
    async with started(*workers) as fleet:
        seen = await with_a_death(fleet, workers, "0", *sent)

    assert seen[1].error is not None
    assert (numbers(seen[2]), seen[2].lost) == ((7,), ())
