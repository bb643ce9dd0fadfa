"""Requests, answers and streams survive the way between gateway and worker."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest
from google.protobuf.message import Message

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
from lexiseg_service.errors import InvalidValue, NotReady, ServiceError
from lexiseg_service.question.backend import Exemplified, Taught
from lexiseg_service.question.messages import ExampleRegion, RenderedMap, WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import Followed, FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.wire.errors import error_of, problem_of
from lexiseg_service.wire.messages import (
    decode_answer,
    decode_exemplified,
    decode_frame_answer,
    decode_request,
    decode_step,
    decode_taught,
    encode_answer,
    encode_exemplified,
    encode_frame_answer,
    encode_regions,
    encode_request,
    encode_step,
    encode_taught,
)
from tests.service.wire.newer_release import with_more_fields, with_new_values

# A value, how it is sent, and how it is read.
Sent = tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]
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
LABELLED = replace(REQUEST, vocabulary=Vocabulary(CLASSES), keep_picture=False, region_classes=(0, -1, 3))
REVIEWED = replace(LABELLED, image=None, image_id="0" * 32, header=None, regions=(), region_classes=())


def tracked(*track_ids: int | None) -> WorkerAnswer:
    numbered = zip(SEGMENTS, track_ids, strict=True)
    return replace(ANSWER, segments=tuple(replace(segment, track_id=number) for segment, number in numbered))


def read_request(message: Any) -> Any:
    return decode_request(message, 7.0)


def questions() -> Iterator[Sent]:
    """What a gateway sends, and what a worker makes of it; made anew: other tests count the frames in memory."""
    for request in REQUESTS.values():
        yield request, encode_request, read_request
    for request in (REQUEST, replace(REQUEST, image=None, image_id="0" * 32, keep_picture=False)):
        yield request, partial(encode_regions, internal.ExemplifyRequest), read_request
    for request in (LABELLED, REVIEWED):
        yield request, partial(encode_regions, internal.TeachRequest), read_request
    followed = tuple(Followed(number, prompt) for number, prompt in enumerate(FULL.prompts, 7))
    for step in (
        StreamQuestion(replace(FULL, image_id=None, header=None, painted=()), 0.5, True, "latest", 8, True),
        VideoFrame(b"image", "frame-1", 123456789012345, header=PictureHeader("PNG", (16, 32), 1)),
        VideoFrame(b"image", "frame-1", follow=followed, unfollow=(3, 2**60)),
    ):
        yield step, encode_step, decode_step


def answers() -> Iterator[Sent]:
    """What a worker sends, and what a gateway makes of it."""
    variants: tuple[dict[str, Any], ...] = (
        {},
        {"mask": "polygon", "segments": OUTLINED, "overlay": b"overlay", "confidence": b"confidence"},
        {"mask": "png", "label_map": RenderedMap(b"map", 16)},
    )
    for changes in variants:
        yield replace(ANSWER, **changes), encode_answer, decode_answer
    yield Taught("abc", "digest", b"lesson"), encode_taught, decode_taught
    rows = Exemplified("abc", "digest", (b"ab", b"cd"))
    yield rows, encode_exemplified, decode_exemplified
    yield replace(rows, picture=b"small", regions=REGIONS), encode_exemplified, decode_exemplified
    for answer in (
        FrameAnswer("1", 40_000, tracked(7, None, 3)),
        FrameAnswer("1", 40_000, tracked(7, 2, 3), lost=(9, 1)),
        FrameAnswer("1", 40_000, ANSWER, state_reset=True),
        FrameAnswer("1", 40_000, dropped=True),
    ):
        yield answer, encode_frame_answer, decode_frame_answer


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


@pytest.mark.parametrize("sent", [questions, answers])
def test_a_message_arrives_as_it_left(sent: Callable[[], Iterator[Sent]]) -> None:
    for value, encode, decode in sent():
        message = encode(value)
        left = value
        if isinstance(value, WorkerRequest):
            left = replace(value, deadline=7.0)
        elif isinstance(value, WorkerAnswer) and value != ANSWER:
            left = without_runs(value)

        assert decode(type(message).FromString(message.SerializeToString())) == left


def test_a_frame_s_error_arrives_as_a_problem() -> None:
    arrived = decode_frame_answer(
        encode_frame_answer(FrameAnswer("1", error=InvalidValue.of("image", "3 x 3", "sides of 16")))
    )

    assert arrived.answer is None
    assert isinstance(arrived.error, InvalidValue)
    assert arrived.error.extra["errors"][0]["field"] == "image"


Read = Callable[[Any], Any]
QUESTIONS: list[tuple[Message, Read]] = [(encode(value), decode) for value, encode, decode in questions()]
ANSWERS: list[tuple[Message, Read]] = [(encode(value), decode) for value, encode, decode in answers()]


def test_unknown_fields_of_any_message_change_nothing() -> None:
    for message, read in QUESTIONS + ANSWERS:
        assert read(with_more_fields(message)) == read(message)


def new_values(samples: list[tuple[Message, Read]]) -> Iterator[Any]:
    for message, read in samples:
        for name, newer in with_new_values(message):
            yield pytest.param(newer, read, id=f"{message.DESCRIPTOR.name}-{name}")


@pytest.mark.parametrize(("message", "read"), list(new_values(QUESTIONS)))
def test_a_worker_leaves_a_question_with_an_unknown_value_to_a_newer_one(message: Message, read: Read) -> None:
    with pytest.raises(NotReady, match="99: not known to this worker"):
        read(message)


@pytest.mark.parametrize(("message", "read"), list(new_values(ANSWERS)))
def test_a_gateway_reads_an_answer_with_an_unknown_value(message: Message, read: Read) -> None:
    read(message)


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (internal.WorkerSegmentRequest(question=encode_request(FULL).question), read_request),
        (internal.ExemplifyRequest(question=encode_request(FULL).question), read_request),
        (internal.WorkerSegmentVideoRequest(), decode_step),
    ],
    ids=["an image", "an image of examples", "a step"],
)
def test_a_worker_leaves_what_it_cannot_see_to_a_newer_one(message: Message, read: Read) -> None:
    with pytest.raises(NotReady, match="not known to this worker"):
        read(with_more_fields(message))


def test_an_error_of_an_unknown_kind_keeps_its_status() -> None:
    problem = pb.Problem(type="no-colour", title="Not a colour picture", status=422, detail="it is grey")

    error = error_of(with_more_fields(problem))

    assert type(error) is ServiceError
    assert error.document(None) == {
        **{"type": "no-colour", "title": "Not a colour picture", "status": 422},
        **{"detail": "it is grey", "request_id": None},
    }
    assert problem_of(error, "id").type == "no-colour"
    assert ServiceError("x").status == 500
