"""HAProxy with deploy/edge/haproxy.cfg in front of a real service."""

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
import trustme

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from tests import pictures
from tests.http_server import Quiet, serving
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
    with started(server.url.removeprefix("http://"), server.grpc, tmp_path_factory.mktemp("edge") / "log") as ports:
        yield ports


@contextmanager
def started(gateway_http: str, gateway_grpc: str, log: Path, **settings: str) -> Iterator[Edge]:
    """HAProxy in front of a gateway, once it lets questions pass."""
    ports = Edge(free_port(), free_port())
    environment = {
        "EDGE_HTTP": f"127.0.0.1:{ports.http}",
        "EDGE_GRPC": f"127.0.0.1:{ports.grpc}",
        "GATEWAY_HTTP": gateway_http,
        "GATEWAY_GRPC": gateway_grpc,
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(CONFIGURATION)],
            env={**os.environ, **environment, **settings},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(f"https://127.0.0.1:{ports.http}" if "EDGE_TLS" in settings else ports.url):
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
        return httpx.get(f"{url}/readyz", timeout=PATIENCE, verify=False).status_code == 200
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


def test_each_small_frame_of_a_video_is_answered_before_the_next_one_comes(edge: Edge) -> None:
    answered, frame = threading.Semaphore(0), pb.Frame(image=pictures.encoded(pictures.small("china", 32), "JPEG"))

    def messages() -> Iterator[pb.SegmentVideoRequest]:
        yield pb.SegmentVideoRequest(config=pb.StreamConfig(classes=[pb.Class(name="sky")]))
        for _ in range(3):
            yield pb.SegmentVideoRequest(frame=frame)
            answered.acquire(timeout=PATIENCE)

    frames = []
    with grpc.insecure_channel(f"127.0.0.1:{edge.grpc}") as channel:
        for answer in SegmentationStub(channel).SegmentVideo(messages(), timeout=PATIENCE):
            frames.append(answer.frame_id)
            answered.release()

    assert frames == ["0", "1", "2"]


def test_requests_that_do_not_go_on_are_ended_and_never_reach_the_service(edge: Edge) -> None:
    head = b"POST /segment HTTP/1.1\r\nHost: x\r\n"  # half of it, or all of it without the body
    with ExitStack() as connections:
        slow = []
        for beginning in (head, head + b"Content-Length: 1000\r\n\r\n"):
            slow.append(connections.enter_context(socket.create_connection(("127.0.0.1", edge.http), PATIENCE)))
            slow[-1].sendall(beginning)
        assert httpx.get(f"{edge.url}/livez", timeout=PATIENCE).status_code == 200
        assert [each.recv(100)[:12] for each in slow] == [b"HTTP/1.1 408"] * 2


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


def test_both_protocols_pass_over_tls(server: Server, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    pem = authority.cert_pem.bytes()
    trust = ssl.create_default_context(cadata=pem.decode())
    settings = {"EDGE_TLS": f"ssl crt {tmp_path}/tls.crt"}
    with started(server.url.removeprefix("http://"), server.grpc, tmp_path / "log", **settings) as edge:
        rest = httpx.get(f"https://127.0.0.1:{edge.http}/v1/models", verify=trust, timeout=PATIENCE)
        credentials = grpc.ssl_channel_credentials(pem)
        with grpc.secure_channel(f"127.0.0.1:{edge.grpc}", credentials) as channel:
            models = SegmentationStub(channel).ListModels(pb.ListModelsRequest(), timeout=PATIENCE).models

    assert [card["name"] for card in rest.json()["models"]] == [card.name for card in models]


@pytest.mark.parametrize(("proxies", "forwarded"), [("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.9")])
def test_the_address_of_a_client_is_the_edges_word_unless_a_proxy_is_trusted(
    proxies: str, forwarded: str, tmp_path: Path
) -> None:
    """The gateway's place is taken by a server that answers with the header it got."""

    class Echo(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers.get("X-Forwarded-For", "").encode())

    with serving(Echo) as gateway:
        address = gateway.removeprefix("http://")
        with started(address, address, tmp_path / "log", EDGE_PROXIES=proxies) as edge:
            answer = httpx.get(f"{edge.url}/x", headers={"X-Forwarded-For": "203.0.113.9"}, timeout=PATIENCE)

    assert answer.text == forwarded
