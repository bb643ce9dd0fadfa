"""Streams on remote workers: affinity, failover and backpressure."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

import pytest
from prometheus_client import generate_latest

from lexiseg_service.errors import NotReady, RateLimited
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from tests.service.fleet.workers import Fleet, Someone, question, started

NAMES = [str(number) for number in range(40)]


def asking(model: str = "colours", **fields: object) -> StreamQuestion:
    return StreamQuestion(question(None, model=model, deadline=float("inf")), **fields)  # type: ignore[arg-type]


async def steps_of(*steps: StreamQuestion | VideoFrame) -> AsyncIterator[StreamQuestion | VideoFrame]:
    for step in steps:
        yield step


def frames(*names: str) -> list[VideoFrame]:
    return [VideoFrame(b"picture", name, int(name)) for name in names]


async def answers_of(fleet: Fleet, *steps: StreamQuestion | VideoFrame) -> list[FrameAnswer]:
    async with aclosing(fleet.backend.stream(steps_of(*steps))) as answers:
        return [answer async for answer in answers]


async def test_a_stream_fails_over_and_reports_state_reset() -> None:
    workers = [Someone(), Someone()]
    async with started(*workers) as fleet:
        seen: list[FrameAnswer] = []
        async with aclosing(fleet.backend.stream(steps_of(asking(), *frames(*NAMES)))) as answers:
            async for answer in answers:
                seen.append(answer)
                if answer.frame_id == "10":
                    await fleet.end(next(index for index, worker in enumerate(workers) if worker.frames))

    assert [answer.frame_id for answer in seen] == NAMES
    moved = [answer.frame_id for answer in seen if answer.state_reset]
    assert len(moved) == 1
    assert "lexiseg_stream_failovers_total 1.0" in generate_latest(fleet.metrics.registry).decode()
    assert int(moved[0]) > 10
    assert [asked.resumed for asked in workers[0].questions + workers[1].questions if asked.resumed] == [True]


async def test_the_streams_of_a_draining_worker_fail_over() -> None:
    workers = [Someone(), Someone()]
    async with started(*workers) as fleet:
        names = iter(NAMES)
        leaving = asyncio.Event()

        async def slowly() -> AsyncIterator[StreamQuestion | VideoFrame]:
            yield asking()
            for name in names:
                yield frames(name)[0]
                if name == "5":
                    await leaving.wait()

        seen: list[FrameAnswer] = []
        async with aclosing(fleet.backend.stream(slowly())) as answers:
            async for answer in answers:
                seen.append(answer)
                if answer.frame_id == "5":
                    fleet.servers[next(index for index, worker in enumerate(workers) if worker.frames)].leave()
                    await fleet.ready(1)
                    leaving.set()

    assert [answer.frame_id for answer in seen] == NAMES
    assert [answer.frame_id for answer in seen if answer.state_reset] == ["6"]
    assert all(worker.frames for worker in workers)
    assert len(workers[0].frames) + len(workers[1].frames) == len(NAMES)  # nothing was computed twice


async def test_a_question_about_a_model_of_another_worker_moves_the_stream() -> None:
    cats, dogs = Someone(name="cats"), Someone(name="dogs")
    async with started(cats, dogs) as fleet:
        answers = await answers_of(fleet, asking("cats"), *frames("0", "1"), asking("dogs"), *frames("2", "3"))

    assert [answer.frame_id for answer in answers] == ["0", "1", "2", "3"]
    assert (cats.frames, dogs.frames) == (["0", "1"], ["2", "3"])


async def test_a_stream_waits_for_the_restart_of_its_only_worker() -> None:
    async with started(Someone()) as fleet:
        seen: list[FrameAnswer] = []
        async with aclosing(fleet.backend.stream(steps_of(asking(), *frames(*NAMES)))) as answers:
            async for answer in answers:
                seen.append(answer)
                if answer.frame_id == "3":
                    await fleet.end(0)
                    await fleet.ready(0)
                    await fleet.start_again(0)

    assert [answer.frame_id for answer in seen] == NAMES
    assert len([answer for answer in seen if answer.state_reset]) == 1


async def test_a_stream_whose_only_worker_does_not_come_back_in_time_ends_and_says_why() -> None:
    async with started(Someone(), own={"deadline_seconds": 0.5}) as fleet:
        seen = []

        async def end_after_the_fourth() -> None:
            async with aclosing(fleet.backend.stream(steps_of(asking(), *frames(*NAMES)))) as answers:
                async for answer in answers:
                    seen.append(answer.frame_id)
                    if answer.frame_id == "3":
                        await fleet.end(0)

        with pytest.raises(NotReady, match=r"another worker: after 0\.5 seconds no worker with model colours"):
            await end_after_the_fourth()

    assert seen[:4] == NAMES[:4]


async def test_a_worker_that_refuses_streams_answers_others() -> None:
    class Full(Someone):
        async def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
            await anext(steps)
            raise RateLimited("all places are taken")
            yield

    async with started(Full()) as fleet:
        for _ in range(10):
            with pytest.raises(RateLimited):
                await answers_of(fleet, asking(), *frames(*NAMES))
        streams = [asyncio.ensure_future(answers_of(fleet, asking(), *frames(*NAMES))) for _ in range(100)]
        while not all(stream.done() for stream in streams):
            await fleet.backend.segment(question(b"image"))
        refusals = await asyncio.gather(*streams, return_exceptions=True)

    assert RateLimited in map(type, refusals)


async def test_a_stream_applies_backpressure_to_its_sender() -> None:
    worker = Someone(held=True)
    taken = most_ahead = 0
    answered: list[str] = []
    async with started(worker) as fleet:

        async def counted() -> AsyncIterator[StreamQuestion | VideoFrame]:
            nonlocal taken, most_ahead
            yield asking(frames_in_flight=2)
            for frame in frames(*NAMES):
                taken += 1
                most_ahead = max(most_ahead, taken - len(answered))
                yield frame

        async with aclosing(fleet.backend.stream(counted())) as answers:
            first = asyncio.ensure_future(anext(answers))
            await fleet.until(lambda: len(worker.frames) == 1)
            worker.gate.set()
            answered.append((await first).frame_id)
            async for answer in answers:
                answered.append(answer.frame_id)

    assert 2 <= most_ahead < 10
    assert answered == NAMES


async def test_a_stream_that_is_abandoned_leaves_nothing_at_the_worker() -> None:
    worker = Someone(held=True)
    async with started(worker) as fleet:
        for number in range(20):
            already = len(worker.frames)
            async with aclosing(fleet.backend.stream(steps_of(asking(), *frames(*NAMES)))) as answers:
                waiting = asyncio.ensure_future(anext(answers))
                if number % 2:  # the worker has something of it
                    await fleet.until(partial(_more_than, worker.frames, already))
                else:  # at once, and a little later
                    for _ in range(number):
                        await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])

        assert fleet.backend._links[f"127.0.0.1:{fleet.servers[0].port}"].in_flight == 0


def _more_than(names: list[str], already: int) -> bool:
    return len(names) > already
