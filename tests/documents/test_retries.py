"""What the page on gRPC tells clients of their own to do loses no call to a server that goes."""

import base64
from typing import Any

import grpc
import pytest
from playwright.sync_api import sync_playwright

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import segmentation_pb2_grpc
from tests import chromium, pictures
from tests.clients.rpc.scripted_grpc import Servicer, aborts, scripted, well
from tests.documents.reading import blocks
from tests.integration.server import Server
from tests.waiting import SOON

IMAGE = bytes(2**20)  # longer than what gRPC keeps of a call by itself


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE])
def test_the_documented_channel_asks_a_leaving_server_again(code: grpc.StatusCode) -> None:
    (block,) = [block.text for block in blocks("docs/grpc.md") if "grpc.service_config" in block.text]
    servicer = Servicer(aborts(code, "leaving"), aborts(code, "leaving"), well)
    with scripted(servicer) as target:
        assert "localhost:50051" in block
        names: dict[str, Any] = {"grpc": grpc, "segmentation_pb2_grpc": segmentation_pb2_grpc}
        exec(block.replace("localhost:50051", target), names)
        answer = names["stub"].Segment(pb.SegmentRequest(image=pb.Image(content=IMAGE)), timeout=SOON)

    assert answer.image_id == "abc"
    assert len(servicer.asked) == 3


TRY = """async ([url, photograph]) => {
  const bytes = Uint8Array.from(atob(photograph), (letter) => letter.charCodeAt(0));
  const { image_id, segments } = await segment(new Blob([bytes]), ["sky", "trees"], { url });
  const clicked = await click(image_id, 20, 20, { url });
  paint(document.createElement("canvas"), segments[0]);
  return [...segments, ...clicked.segments].map(({ area, mask }) =>
    [area, decodeRle(mask).reduce((sum, inside) => sum + inside)]);
}"""


@pytest.mark.slow
def test_the_code_sends_a_photograph_and_decodes_its_masks(server: Server) -> None:
    code = "\n".join(block.text for block in blocks("docs/javascript.md", "js") if "export " in block.text)
    code = code.replace("export ", "")
    photograph = base64.b64encode(pictures.file("china.jpg")).decode()
    with sync_playwright() as playwright, chromium.started(playwright) as browser:
        page = browser.new_page()
        page.goto(server.url)
        areas = page.evaluate(f"async (given) => {{ {code}\nreturn ({TRY})(given); }}", [server.url, photograph])

    assert len(areas) > 2
    assert all(area == decoded for area, decoded in areas)
