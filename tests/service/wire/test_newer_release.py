"""Gateway and worker read each other's messages, whatever a newer release adds to them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_service.errors import InvalidValue, NotReady, ServiceError
from lexiseg_service.question.streams import FrameAnswer
from lexiseg_service.wire.errors import error_of, problem_of
from lexiseg_service.wire.messages import decode_step, encode_frame_answer, encode_request
from tests.service.wire.newer_release import messages_in, with_more_fields, with_new_values
from tests.service.wire.test_messages import FULL, answers, questions, read_request

Read = Callable[[Any], Any]
QUESTIONS: list[tuple[Message, Read]] = [(encode(value), decode) for value, encode, decode in questions()]
ANSWERS: list[tuple[Message, Read]] = [(encode(value), decode) for value, encode, decode in answers()]
ERROR = FrameAnswer("1", error=InvalidValue.of("image", "3 x 3", "sides of 16"))


def test_every_message_between_gateway_and_worker_is_tried() -> None:
    tried = {each.DESCRIPTOR.name for message, _ in QUESTIONS + ANSWERS for each in messages_in(message)}
    tried |= {each.DESCRIPTOR.name for each in messages_in(encode_frame_answer(ERROR))}
    service = internal.DESCRIPTOR.services_by_name["Worker"]
    sides = [each for method in service.methods for each in (method.input_type, method.output_type)]

    def reachable(kinds: list[Any], seen: set[str]) -> set[str]:
        for kind in kinds:
            if kind.name not in seen and kind.file.package == "lexiseg.v1":
                seen.add(kind.name)
                reachable([field.message_type for field in kind.fields if field.message_type], seen)
        return seen

    # The envelopes hold one message each, which is tried; the status is tried over gRPC.
    envelopes = {"WorkerSegmentResponse", "WorkerSegmentVideoResponse"}
    envelopes |= {"WatchStatusRequest", "WatchStatusResponse", "ServedModel"}
    # A client's message alone has these.
    of_clients = {"Image", "ImageOptions"}
    assert reachable(sides, set()) - envelopes - of_clients <= tried


def varint(number: int) -> bytes:
    low = number & 0x7F
    return bytes([low | 0x80]) + varint(number >> 7) if number >> 7 else bytes([low])


@st.composite
def unknown_fields(draw: st.DrawFn) -> bytes:
    """Fields of any wire type under numbers that no message uses."""
    fields = b""
    for number in draw(st.lists(st.integers(100, 18_999) | st.integers(20_000, 2**29 - 1), min_size=1, max_size=4)):
        kind = draw(st.sampled_from((0, 1, 2, 5)))
        text = draw(st.binary(max_size=300))
        content = {
            0: varint(draw(st.integers(0, 2**64 - 1))),
            1: draw(st.binary(min_size=8, max_size=8)),
            2: varint(len(text)) + text,
            5: draw(st.binary(min_size=4, max_size=4)),
        }
        fields += varint(number << 3 | kind) + content[kind]
    return fields


@given(unknown_fields())
def test_unknown_fields_of_any_message_change_nothing(fields: bytes) -> None:
    for message, read in QUESTIONS + ANSWERS:
        newer = with_more_fields(message, fields)

        assert newer.ByteSize() > message.ByteSize()
        assert read(type(message).FromString(newer.SerializeToString())) == read(message)


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
