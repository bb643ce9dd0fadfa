"""gRPC of a real server: the answers of REST, classes by example, and calls in flight at a shutdown."""

from __future__ import annotations

import signal
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from tests import pictures
from tests.integration.serve.test_start import CALLS, SOON, accepted
from tests.integration.server import Server, form

IMAGE = pictures.encoded(pictures.small("china", 160), "JPEG")
CLASSES = ("sky", "building", "tree")


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> SegmentationStub:
    return SegmentationStub(channel)


def question(image: bytes = IMAGE, **fields: Any) -> pb.SegmentRequest:
    classes = [pb.Class(name=name) for name in CLASSES]
    return pb.SegmentRequest(image=pb.Image(content=image), classes=classes, max_side=160, **fields)


def test_polygons_label_map_overlay_and_confidence_are_those_of_rest(
    stub: SegmentationStub, client: httpx.Client
) -> None:
    asked = {"max_side": 160, "overlay": "true", "confidence": "true"}
    outlined = client.post("/segment", files=form(IMAGE, *CLASSES, mask="polygon", **asked)).json()
    mapped = client.post("/segment", files=form(IMAGE, *CLASSES, mask="png", **asked)).json()

    polygons = stub.Segment(question(mask="MASK_FORMAT_POLYGON", overlay=True, confidence=True), timeout=SOON)
    label_map = stub.Segment(question(mask="MASK_FORMAT_PNG"), timeout=SOON)

    rings = [[list(ring.exterior) for ring in segment.mask.polygon.rings] for segment in polygons.segments]
    assert rings == [[ring["exterior"] for ring in segment["mask"]["rings"]] for segment in outlined["segments"]]
    assert b64encode(polygons.overlay).decode() == outlined["overlay"]
    assert b64encode(polygons.confidence).decode() == outlined["confidence"]
    assert b64encode(label_map.label_map.png).decode() == mapped["label_map"]["base64"]
    assert label_map.label_map.bits == mapped["label_map"]["bits"]


def test_an_image_that_rest_was_sent_is_asked_about_over_grpc(stub: SegmentationStub, client: httpx.Client) -> None:
    known = client.post("/segment", files=form(IMAGE, "sky", max_side=160)).json()["image_id"]

    answer = stub.Segment(
        pb.SegmentRequest(image=pb.Image(id=known), classes=[pb.Class(name="tree")], max_side=160), timeout=SOON
    )

    assert answer.cache.features


def test_calls_in_flight_are_answered_before_the_process_ends(tmp_path: Path) -> None:
    # Large, so that some of them are still in flight when the signal comes.
    image = pictures.encoded(pictures.photograph("china").resize((4000, 3000)), "JPEG", quality=95)
    with (
        Server(tmp_path / "log.jsonl", LEXISEG_DRAIN_SECONDS=str(SOON)) as server,
        grpc.insecure_channel(server.grpc) as channel,
        ThreadPoolExecutor(CALLS) as clients,
    ):
        stub = SegmentationStub(channel)
        answers = accepted(server, lambda: clients.submit(stub.Segment, question(image), timeout=SOON))

        server.send(signal.SIGTERM)
        sizes = [answer.result(SOON).size.height for answer in answers]
        status = server.wait()

    assert set(sizes) == {3000}
    assert status == 0


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
