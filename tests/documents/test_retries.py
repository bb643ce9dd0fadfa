"""What the page on gRPC tells clients of their own to do loses no call to a server that goes."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import segmentation_pb2_grpc
from tests.clients.rpc.scripted_grpc import Servicer, aborts, scripted, well
from tests.documents.reading import blocks

IMAGE = bytes(2**20)  # longer than what gRPC keeps of a call by itself


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE])
def test_the_documented_channel_asks_a_leaving_server_again(code: grpc.StatusCode) -> None:
    (block,) = [block.text for block in blocks("docs/grpc.md") if "grpc.service_config" in block.text]
    servicer = Servicer(aborts(code, "leaving"), aborts(code, "leaving"), well)
    with scripted(servicer) as target:
        assert "localhost:50051" in block
        names: dict[str, Any] = {"grpc": grpc, "segmentation_pb2_grpc": segmentation_pb2_grpc}
        exec(block.replace("localhost:50051", target), names)
        answer = names["stub"].Segment(pb.SegmentRequest(image=pb.Image(content=IMAGE)), timeout=30)

    assert answer.image_id == "abc"
    assert len(servicer.asked) == 3
