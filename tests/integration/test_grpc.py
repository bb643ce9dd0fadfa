"""gRPC of a real server: classes by example."""

from collections.abc import Iterator

import grpc
import pytest

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from tests import pictures
from tests.integration.server import Server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> SegmentationStub:
    return SegmentationStub(channel)


SOON = 60.0
PHOTOGRAPH = pictures.encoded(pictures.small("china", 320), "JPEG")
SIZE = pictures.small("china", 320).size
ABOVE = (0.05 * SIZE[0], 0.02 * SIZE[1], 0.6 * SIZE[0], 0.12 * SIZE[1])  # a strip of sky


def classes(image: bytes | None = None) -> list[pb.Class]:
    """One that is shown, in another picture where there is one, and two by their words."""
    source = None if image is None else pb.Image(content=image)
    shown = pb.Example(image=source, box=pb.Box(**dict(zip(("x0", "y0", "x1", "y1"), ABOVE, strict=True))))
    return [pb.Class(name="above", examples=[shown]), pb.Class(name="building"), pb.Class(name="tree")]


def test_frames_of_a_stream_are_asked_about_a_class_that_another_picture_shows(stub: SegmentationStub) -> None:
    config = pb.SegmentVideoRequest(config=pb.StreamConfig(classes=classes(PHOTOGRAPH)))
    frame = pb.SegmentVideoRequest(frame=pb.Frame(image=PHOTOGRAPH))

    answers = list(stub.SegmentVideo(iter([config, frame, frame]), timeout=SOON))

    assert len(answers) == 2
    for answer in answers:
        assert not answer.HasField("error"), answer.error.detail
        assert "above" in [segment.label for segment in answer.answer.segments]


def test_an_example_in_the_frame_itself_is_refused_for_a_stream(stub: SegmentationStub) -> None:
    config = pb.SegmentVideoRequest(config=pb.StreamConfig(classes=classes()))

    with pytest.raises(grpc.RpcError) as raised:
        list(stub.SegmentVideo(iter([config]), timeout=SOON))

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
