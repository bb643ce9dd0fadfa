"""Examples on the wire between gateway and worker: what arrives is what was sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_model.types import Point, Prompt, Region, Rle, Vocabulary
from lexiseg_service.question.messages import ExampleRegion, Exemplified, KeptPicture, WorkerRequest
from lexiseg_service.wire.request import decode_exemplified, decode_exemplify, encode_exemplified, encode_exemplify

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
    size=(480, 640),
    owner="camera",
    deadline=7.0,
)


@pytest.mark.parametrize("request_", [REQUEST, replace(REQUEST, image=None, image_id="0" * 32, keep_picture=False)])
def test_regions_arrive_as_they_were_sent(request_: WorkerRequest) -> None:
    sent = internal.ExemplifyRequest.FromString(encode_exemplify(request_).SerializeToString())

    assert decode_exemplify(sent, 7.0) == request_


@pytest.mark.parametrize("picture", [None, KeptPicture(b"small", REGIONS)])
def test_rows_arrive_as_they_were_made(picture: KeptPicture | None) -> None:
    made = Exemplified("abc", "digest", (b"ab", b"cd"), picture)

    sent = internal.ExemplifyResponse.FromString(encode_exemplified(made).SerializeToString())

    assert decode_exemplified(sent) == made
