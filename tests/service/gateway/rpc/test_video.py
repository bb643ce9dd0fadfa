"""Configurations, frames and answers of one video stream."""

import grpc
import pytest

from lexiseg_client.stubs import segmentation_pb2 as pb
from tests.service.gateway.rpc.calling import error_in, failure
from tests.service.gateway.rpc.streaming import PICTURE, config, frame, gate, opened, over_colours, read, rest
from tests.service.worker.gated_colours import halves
from tests.waiting import soon


def shown(image: pb.Image | None = None) -> pb.SegmentVideoRequest:
    """A question about blue, and about what the left half of an image shows, which is red in PICTURE."""
    example = pb.Example(image=image, box=pb.Box(x1=8, y1=16))
    return config(classes=[pb.Class(name="shown", examples=[example]), pb.Class(name="blue")])


WRONG: list[tuple[pb.SegmentVideoRequest, str | None]] = [
    (config(smoothing=0.96), "smoothing"),
    (config(frames_in_flight=17), "frames_in_flight"),
    (config(frames_in_flight=0), "frames_in_flight"),
    (config(drop_policy=7), "drop_policy"),
    (config(task=pb.TASK_PROMPT), "task"),
    (config(task=99), "task"),
    (config("red", "red"), "classes.1"),
    (shown(), "classes.0.examples.0.image"),
    (frame(), None),  # no config
    (pb.SegmentVideoRequest(), None),
]


async def test_a_stream_without_valid_messages_ends() -> None:
    long_id = [config(), frame(id="x" * 129)]
    async with over_colours() as (gateway, _):
        for messages, field in [*(([message], field) for message, field in WRONG), (long_id, "frame.id")]:
            failed = await failure(rest(await opened(gateway, *messages)))

            error = error_in(failed)
            assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT, field
            assert error.type == ("malformed-request" if field is None else "invalid-value")
            assert [finding["field"] for finding in error.extra.get("errors", ())] == ([field] if field else [])


async def test_frames_are_asked_about_a_class_that_another_picture_shows() -> None:
    async with over_colours() as (gateway, _):
        call = await opened(gateway, shown(pb.Image(content=PICTURE)), frame(halves("b", "r")), frame(halves("g", "r")))
        answers = await rest(call)

    labels = [{segment.label: segment.bbox.x for segment in answer.answer.segments} for answer in answers]
    assert labels == [{"shown": 8, "blue": 0}, {"shown": 8}]


async def test_frames_are_asked_for_doubtful_segments_and_plain_outlines() -> None:
    classes = [pb.Class(name="red", threshold=1.0), pb.Class(name="blue")]
    outlines = {"mask": pb.MASK_FORMAT_POLYGON, "simplify": 1.0}
    async with over_colours() as (gateway, _):
        call = await opened(
            gateway, config(classes=classes, **outlines), frame(), config(classes=classes, doubtful=True), frame()
        )
        answers = await rest(call)

    labels = [{segment.label: segment.doubtful for segment in answer.answer.segments} for answer in answers]
    assert labels == [{"blue": False}, {"red": True, "blue": False}]


async def test_another_question_counts_as_a_request_and_too_many_end_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.admission.limits.BURST_SECONDS", 300)
    async with over_colours(rate_limit=0.01) as (gateway, _):
        call = await opened(gateway, config(), frame(), config("red"), frame(), config("blue"), frame(), config("red"))
        answers = await read(call, 3)
        failed = await failure(rest(call))

    assert all(answer.HasField("answer") for answer in answers)
    assert failed.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    error = error_in(failed)
    assert (error.type, error.headers["Retry-After"]) == ("rate-limited", "100")


async def test_a_gateway_that_goes_down_answers_what_it_took() -> None:
    async with over_colours() as (gateway, backend):
        gate(backend).gate.clear()
        call = await opened(gateway, config(), frame(), frame())
        await soon(lambda: backend.engine.in_flight == 2)
        gateway.server.leave()
        gate(backend).gate.set()
        answers = await read(call, 2)
        failed = await failure(read(call, 1))

    assert [answer.HasField("answer") for answer in answers] == [True, True]
    assert failed.code() is grpc.StatusCode.UNAVAILABLE
