"""Clicks, boxes and panoptic segments of the bundled model, over REST and gRPC."""

import json
from typing import Any

import grpc
import httpx
import numpy as np
from numpy.typing import NDArray

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from tests import coco, pictures
from tests.integration.server import Server, form
from tests.waiting import SOON

CAT = pictures.encoded(pictures.small("chelsea", 320), "JPEG", quality=90)
WIDTH, HEIGHT = pictures.small("chelsea", 320).size
CLICK = {"x": WIDTH / 2, "y": HEIGHT / 2}


def ask(client: httpx.Client, **question: Any) -> dict[str, Any]:
    response = client.post("/segment", files=[*form(CAT), ("request", (None, json.dumps(question)))])
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ask_again(client: httpx.Client, answer: dict[str, Any], **question: Any) -> dict[str, Any]:
    response = client.post("/segment", json={"image": {"id": answer["image_id"]}, **question})
    assert response.status_code == 200, response.text
    again: dict[str, Any] = response.json()
    return again


def mask(segment: dict[str, Any]) -> NDArray[np.bool_]:
    """The pixels of a segment, which its area and its box agree with."""
    pixels = coco.decode(segment["mask"])
    assert segment["area"] == int(pixels.sum())
    assert segment["bbox"] == coco.box(segment["mask"])
    return pixels


def test_a_mask_is_corrected_over_rest_and_grpc(server: Server, client: httpx.Client) -> None:
    first = ask(client, prompts=[{"points": [CLICK]}])
    found = first["segments"][0]
    before = mask(found)
    y, x = (int(values[len(values) // 2]) for values in np.nonzero(before))
    outside = {"x": 2.5, "y": 2.5}
    source = {"mask": {key: found["mask"][key] for key in ("size", "counts")}}

    more = ask_again(client, first, prompts=[{**source, "points": [outside]}])
    less = ask_again(client, first, prompts=[{**source, "points": [{"x": x, "y": y, "positive": False}]}])
    with grpc.insecure_channel(server.grpc) as channel:
        corrected = pb.Prompt(
            points=[pb.Point(x=x, y=y, positive=False)],
            mask=pb.CocoRle(size=pb.Size(height=HEIGHT, width=WIDTH), counts=found["mask"]["counts"]),
        )
        request = pb.SegmentRequest(image=pb.Image(id=first["image_id"]), prompts=[corrected])
        same = SegmentationStub(channel).Segment(request, timeout=SOON)

    grown, shrunk = mask(more["segments"][0]), mask(less["segments"][0])
    assert grown[2, 2]
    assert not (before & ~grown).any()
    assert not shrunk[y, x]
    assert not (shrunk & ~before).any()
    assert same.segments[0].mask.coco_rle.counts == less["segments"][0]["mask"]["counts"]
    assert [warning["type"] for warning in less["warnings"]] == ["no-mask-prompts"]
    assert [warning.type for warning in same.warnings] == ["no-mask-prompts"]
