"""Requests, answers and streams survive the way between gateway and worker."""

from dataclasses import fields, replace
from typing import Any

import pytest

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_labels.answers import AnswerWarning, CacheUse, Sense, Timings
from lexiseg_model.pictures.header import PictureHeader
from lexiseg_model.types import (
    Background,
    ClassEntry,
    Learned,
    Point,
    Prompt,
    Region,
    Ring,
    Rle,
    Segment,
    Shown,
    Vocabulary,
)
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.backend import Exemplified, Taught
from lexiseg_service.question.messages import ExampleRegion, RenderedMap, WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import Followed, FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.wire.messages import (
    decode_answer,
    decode_exemplified,
    decode_frame_answer,
    decode_request,
    decode_step,
    decode_taught,
    encode_answer,
    encode_exemplified,
    encode_exemplify,
    encode_frame_answer,
    encode_request,
    encode_step,
    encode_taught,
    encode_teach,
)

CLASSES = (
    ClassEntry("sofa", ("couch", "settee"), 0.3, True),
    ClassEntry("crane", senses=("a machine", "a bird")),
    ClassEntry("sky", (), None, False),
    ClassEntry("x"),
    ClassEntry("y", shown=Shown((b"ab",), (b"cd",), "digest"), named=False),
    ClassEntry("mug", learned=Learned(b"direction", 0.25, "digest")),
)
PLAIN = WorkerRequest(b"image", Vocabulary((ClassEntry("sky"),)), "tiny")
FULL = WorkerRequest(
    image=None,
    image_id="0" * 32,
    vocabulary=Vocabulary(CLASSES, Background(("wall",), 0.25), "rooms"),
    model="tiny@1",
    task="prompt",
    prompts=(
        Prompt((Point(1, 2.5), Point(0, 0, positive=False))),
        Prompt(box=(0.0, 1.0, 2.25, 4.0)),
        Prompt((Point(3, 3),), (0.0, 0.0, 4.0, 4.0)),
    ),
    mask="polygon",
    overlay=True,
    painted=(Segment(2, "sofa", 1, 0.5, Rle((4, 5), "088", 8, (0, 0, 2, 4))),),
    confidence=True,
    refine="pamr",
    threshold=0.1,
    doubtful=True,
    max_side=512,
    language="es",
    simplify=1.5,
    header=PictureHeader("JPEG", (3648, 5472), 6),
    owner="camera",
    source="stream-7",
    background=True,
    remember=False,
    request_id="an-id",
    traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
)
REQUESTS = {
    "plain": PLAIN,
    "full": FULL,
    "no background": replace(PLAIN, vocabulary=Vocabulary(CLASSES, None)),
    "no background words": replace(PLAIN, vocabulary=Vocabulary(CLASSES, Background(words=()))),
    "prompts without classes": replace(
        PLAIN, task="prompt", vocabulary=Vocabulary(()), prompts=(Prompt((Point(0, 0),)),)
    ),
    "an empty image": replace(PLAIN, image=b""),
    "an image with its id": replace(PLAIN, image_id="0" * 32),
}
SEGMENTS = (
    Segment(1, "sofa", 0, 0.9123, Rle((4, 5), "088", 8, (0, 0, 2, 4)), is_thing=True),
    Segment(2, None, None, 0.5, Rle((4, 5), "8;", 1, (3, 1, 1, 1)), prompt_index=0, mask_index=0, quality=0.5),
    Segment(
        3, "sky", 1, 0.25, Rle((4, 5), "8;", 1, (3, 1, 1, 1)), is_thing=False, prompt_index=3, mask_index=2, quality=0.0
    ),
)
ANSWER = WorkerAnswer(
    "abc",
    "tiny",
    "digest",
    "instance",
    (4, 5),
    SEGMENTS,
    timings_ms=Timings(1.23, 0.5, 0.25, 2.0, 3.0, 6.5),
    cache=CacheUse(1, 2, True),
    absent=("boat", "quark"),
    warnings=(AnswerWarning("unfamiliar-word", "a guess", "classes.3"), AnswerWarning("any", "of the whole", None)),
    senses=(Sense(1, "a bird", ("a machine",)), Sense(2, "a pigeon")),
)
RINGS = (
    (Ring([0, 0, 2, 0, 2, 4, 0, 4], [[1, 1, 1, 2]]),),
    (Ring([3, 1, 4, 1, 4, 2, 3, 2], []),),
    (Ring([3, 1, 4, 1, 4, 2, 3, 2], []),),
)
OUTLINED = tuple(replace(segment, rings=rings) for segment, rings in zip(SEGMENTS, RINGS, strict=True))


def test_the_full_request_says_something_in_every_field() -> None:
    """Else a new field could be forgotten on the way."""
    unsaid = [
        entry.name
        for entry in fields(WorkerRequest)
        # Flow and alone are told within one process; a worker finds them anew. Regions: tests of examples.
        if entry.name not in ("image", "deadline", "flow", "alone", "regions", "keep_picture", "region_classes")
        and getattr(FULL, entry.name) in (entry.default, None)
    ]

    assert unsaid == []


def without_runs(answer: WorkerAnswer) -> WorkerAnswer:
    """Run lengths travel where they were asked for, and nowhere else."""
    return replace(
        answer, segments=tuple(replace(segment, mask=replace(segment.mask, counts="")) for segment in answer.segments)
    )


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_arrives_as_it_left_with_the_deadline_of_the_call(request_: WorkerRequest) -> None:
    message = internal.WorkerSegmentRequest.FromString(encode_request(request_).SerializeToString())

    assert decode_request(message, 12.5) == replace(request_, deadline=12.5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mask": "polygon", "segments": OUTLINED, "overlay": b"overlay", "confidence": b"confidence"},
        {"mask": "png", "label_map": RenderedMap(b"map", 16)},
    ],
    ids=["run lengths", "outlines and pictures", "a label map"],
)
def test_an_answer_arrives_as_it_left(changes: dict[str, Any]) -> None:
    answer = replace(ANSWER, **changes)

    message = pb.SegmentResponse.FromString(encode_answer(answer).SerializeToString())

    assert decode_answer(message) == (without_runs(answer) if changes else answer)


def steps() -> list[StreamQuestion | VideoFrame]:
    """A question and frames, made when they are needed: other tests count those that are left in memory."""
    followed = tuple(Followed(number, prompt) for number, prompt in enumerate(FULL.prompts, 7))
    return [
        StreamQuestion(replace(FULL, image_id=None, header=None, painted=()), 0.5, True, "latest", 8, True),
        VideoFrame(b"image", "frame-1", 123456789012345, header=PictureHeader("PNG", (16, 32), 1)),
        VideoFrame(b"image", "frame-1", follow=followed, unfollow=(3, 2**60)),
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_step_of_a_stream_arrives_as_it_left(number: int) -> None:
    assert decode_step(encode_step(steps()[number])) == steps()[number]


def tracked(*track_ids: int | None) -> WorkerAnswer:
    numbered = zip(ANSWER.segments, track_ids, strict=True)
    return replace(ANSWER, segments=tuple(replace(segment, track_id=number) for segment, number in numbered))


@pytest.mark.parametrize(
    "said",
    [
        {"answer": tracked(7, None, 3)},
        {"answer": tracked(7, 2, 3), "lost": (9, 1)},
        {"answer": ANSWER, "state_reset": True},
        {"dropped": True},
    ],
    ids=["tracked", "lost", "reset", "dropped"],
)
def test_a_frame_s_answer_arrives_as_it_left(said: dict[str, Any]) -> None:
    answer = FrameAnswer("1", 40_000, **said)

    assert decode_frame_answer(encode_frame_answer(answer)) == answer


def test_a_frame_s_error_arrives_as_a_problem() -> None:
    arrived = decode_frame_answer(
        encode_frame_answer(FrameAnswer("1", error=InvalidValue.of("image", "3 x 3", "sides of 16")))
    )

    assert arrived.answer is None
    assert isinstance(arrived.error, InvalidValue)
    assert arrived.error.extra["errors"][0]["field"] == "image"


REGIONS = (
    Region(Prompt((Point(1, 2.5), Point(0, 0, positive=False)))),
    Region(Prompt((), (0.0, 1.0, 2.25, 4.0))),
    Region(mask=Rle((4, 4), "088", 0, (0, 0, 4, 4))),
)
REQUEST = WorkerRequest(
    b"image",
    Vocabulary(()),
    "tiny",
    regions=tuple(ExampleRegion(region, f"classes.0.examples.{number}") for number, region in enumerate(REGIONS)),
    keep_picture=True,
    header=PictureHeader("HEIF", (480, 640), 1, colours=None),
    owner="camera",
    deadline=7.0,
)


@pytest.mark.parametrize("request_", [REQUEST, replace(REQUEST, image=None, image_id="0" * 32, keep_picture=False)])
def test_regions_arrive_as_they_were_sent(request_: WorkerRequest) -> None:
    sent = internal.ExemplifyRequest.FromString(encode_exemplify(request_).SerializeToString())

    assert decode_request(sent, 7.0) == request_


LABELLED = replace(REQUEST, vocabulary=Vocabulary(CLASSES), keep_picture=False, region_classes=(0, -1, 3))
REVIEWED = replace(LABELLED, image=None, image_id="0" * 32, header=None, regions=(), region_classes=())


@pytest.mark.parametrize("request_", [LABELLED, REVIEWED], ids=["labelled", "nothing found"])
def test_a_review_arrives_as_it_was_sent(request_: WorkerRequest) -> None:
    sent = internal.TeachRequest.FromString(encode_teach(request_).SerializeToString())

    assert decode_request(sent, 7.0) == request_


def test_a_lesson_arrives_as_it_was_made() -> None:
    sent = internal.TeachResponse.FromString(encode_taught(TAUGHT).SerializeToString())

    assert decode_taught(sent) == TAUGHT


TAUGHT = Taught("abc", "digest", b"lesson")


@pytest.mark.parametrize("kept", [(b"", ()), (b"small", REGIONS)])
def test_rows_arrive_as_they_were_made(kept: tuple[bytes, tuple[Region, ...]]) -> None:
    made = Exemplified("abc", "digest", (b"ab", b"cd"), *kept)

    sent = internal.ExemplifyResponse.FromString(encode_exemplified(made).SerializeToString())

    assert decode_exemplified(sent) == made
