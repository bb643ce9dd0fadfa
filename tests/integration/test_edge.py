"""HAProxy with deploy/edge/haproxy.cfg in front of a real service: what passes, and what it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from lexiseg_service.stubs import segmentation_pb2 as pb
from lexiseg_service.stubs.segmentation_pb2_grpc import SegmentationStub
from tests import pictures
from tests.integration.server import ROOT, Server, form

CONFIGURATION = ROOT / "deploy" / "edge" / "haproxy.cfg"
IMAGE = pictures.encoded(pictures.small("china", 160), "JPEG")
PATIENCE = 60.0  # seconds; nothing here takes a third of it
MAX_OF_ONE_ADDRESS = 200


@dataclass(frozen=True)
class Edge:
    """Where HAProxy listens."""

    http: int
    grpc: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"


@pytest.fixture(scope="module")
def edge(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    ports = Edge(free_port(), free_port())
    environment = {
        "EDGE_HTTP": f"127.0.0.1:{ports.http}",
        "EDGE_GRPC": f"127.0.0.1:{ports.grpc}",
        "GATEWAY_HTTP": server.url.removeprefix("http://"),
        "GATEWAY_GRPC": server.grpc,
    }
    log: Path = tmp_path_factory.mktemp("edge") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(CONFIGURATION)],
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(ports.url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield ports
    finally:
        process.terminate()
        process.wait(PATIENCE)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=PATIENCE).status_code == 200
    except httpx.TransportError:
        return False


def test_questions_of_both_protocols_pass(edge: Edge) -> None:
    rest = httpx.post(f"{edge.url}/segment", files=form(IMAGE, "sky", "building"), timeout=PATIENCE)
    classes = [pb.Class(name=name) for name in ("sky", "building")]
    with grpc.insecure_channel(f"127.0.0.1:{edge.grpc}") as channel:
        answer = SegmentationStub(channel).Segment(
            pb.SegmentRequest(image=pb.Image(content=IMAGE), classes=classes), timeout=PATIENCE
        )

    assert rest.status_code == 200
    assert [one["area"] for one in rest.json()["segments"]] == [one.area for one in answer.segments]


def test_frames_of_a_video_are_answered_one_by_one(edge: Edge) -> None:
    def messages() -> Iterator[pb.SegmentVideoRequest]:
        yield pb.SegmentVideoRequest(config=pb.StreamConfig(classes=[pb.Class(name="sky")]))
        for _ in range(3):
            yield pb.SegmentVideoRequest(frame=pb.Frame(image=IMAGE))

    with grpc.insecure_channel(f"127.0.0.1:{edge.grpc}") as channel:
        answered = list(SegmentationStub(channel).SegmentVideo(messages(), timeout=PATIENCE))

    assert [answer.frame_id for answer in answered] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"POST /segment HTTP/1.1\r\nHost: x\r\n", id="half a head"),
        pytest.param(b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", id="no body"),
    ],
)
def test_a_request_that_does_not_go_on_is_ended_and_never_reaches_the_service(edge: Edge, beginning: bytes) -> None:
    with socket.create_connection(("127.0.0.1", edge.http), PATIENCE) as slow:
        slow.sendall(beginning)
        assert httpx.get(f"{edge.url}/livez", timeout=PATIENCE).status_code == 200
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_a_body_larger_than_any_request_is_refused(edge: Edge) -> None:
    with socket.create_connection(("127.0.0.1", edge.http), PATIENCE) as large:
        large.sendall(b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: 40000000\r\n\r\n" + bytes(40_000))
        assert large.recv(100).startswith(b"HTTP/1.1 413")


def test_one_address_has_a_bound_of_connections(edge: Edge) -> None:
    held: list[socket.socket] = []
    n_ended = 0
    try:
        for _ in range(MAX_OF_ONE_ADDRESS + 20):
            try:
                held.append(socket.create_connection(("127.0.0.1", edge.http), PATIENCE))
            except ConnectionResetError:
                n_ended += 1
        n_ended += sum(map(is_ended, held))
    finally:
        for each in held:
            each.close()

    assert 0 < n_ended <= 40


def is_ended(connection: socket.socket) -> bool:
    connection.settimeout(0.02)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
