"""HAProxy with deploy/edge/haproxy.cfg in front of a real service."""

import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import trustme
from pydantic import SecretStr

from lexiseg_client import Client, TooLarge
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_service.errors import ServiceError
from lexiseg_service.gateway.admission.key_file import line_of
from loadtests import http2
from tests import pictures
from tests.http_server import Quiet, serving
from tests.integration.edge import CONFIGURATION, Edge, started
from tests.integration.server import Server, form
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports
from tests.waiting import SOON, until

IMAGE = pictures.encoded(pictures.small("china", 160), "JPEG")
MAX_OF_ONE_ADDRESS = 200
ELSEWHERE = "127.0.0.2"  # another client's address
SEGMENT = "/lexiseg.v1.Segmentation/Segment"
REFUSALS = {  # before the body is read, by path and key
    ("/v1/segment", ""): 401,
    ("/v1/segmnt", "right"): 404,
    ("/v1/models", "right"): 405,
    ("/v1/segment", "spent"): 429,
}


@pytest.fixture(scope="module")
def edge(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with started(server.url.removeprefix("http://"), server.grpc, tmp_path_factory.mktemp("edge") / "log") as ports:
        yield ports


def test_questions_of_both_protocols_pass(edge: Edge) -> None:
    rest = httpx.post(f"{edge.url}/segment", files=form(IMAGE, "sky", "building"), timeout=SOON)
    classes = [pb.Class(name=name) for name in ("sky", "building")]
    with grpc.insecure_channel(f"127.0.0.1:{edge.grpc}") as channel:
        answer = SegmentationStub(channel).Segment(
            pb.SegmentRequest(image=pb.Image(content=IMAGE), classes=classes), timeout=SOON
        )

    assert rest.status_code == 200
    assert [one["area"] for one in rest.json()["segments"]] == [one.area for one in answer.segments]


def test_each_small_frame_of_a_video_is_answered_before_the_next_one_comes(edge: Edge) -> None:
    answered, frame = threading.Semaphore(0), pb.Frame(image=pictures.encoded(pictures.small("china", 32), "JPEG"))

    def messages() -> Iterator[pb.SegmentVideoRequest]:
        yield pb.SegmentVideoRequest(config=pb.StreamConfig(classes=[pb.Class(name="sky")]))
        for _ in range(3):
            yield pb.SegmentVideoRequest(frame=frame)
            answered.acquire(timeout=SOON)

    frames = []
    with grpc.insecure_channel(f"127.0.0.1:{edge.grpc}") as channel:
        for answer in SegmentationStub(channel).SegmentVideo(messages(), timeout=SOON):
            frames.append(answer.frame_id)
            answered.release()

    assert frames == ["0", "1", "2"]


def test_the_frames_of_a_stream_reach_its_gateway_among_several(tmp_path: Path) -> None:
    seen: dict[int, list[str]] = {0: [], 1: []}

    def gateway(number: int) -> type[Quiet]:
        class Gateway(Quiet):
            def do_GET(self) -> None:
                if self.path != "/readyz":
                    seen[number].append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        return Gateway

    (template,) = (line for line in CONFIGURATION.read_text().splitlines() if "GATEWAY_HTTP}" in line)
    with serving(gateway(0)) as one, serving(gateway(1)) as other:
        addresses = [url.removeprefix("http://").split("/")[0] for url in (one, other)]
        servers = "\n".join(f"    server {address} {address}" for address in addresses)
        (tmp_path / "two.cfg").write_text(CONFIGURATION.read_text().replace(template, servers))
        with (
            started(addresses[0], addresses[0], tmp_path / "log", tmp_path / "two.cfg") as edge,
            httpx.Client(base_url=edge.url, timeout=SOON) as client,
        ):
            until(lambda: edge.metric('haproxy_backend_active_servers{proxy="gateways_rest"}') == 2)
            others = [client.get("/v1/models") for _ in range(4)]
            for _ in range(6):
                client.get("/v1/streams/a/frames")

    assert not any("set-cookie" in answer.headers for answer in others)
    assert {paths.count("/v1/models") for paths in seen.values()} == {2}
    assert sorted(paths.count("/v1/streams/a/frames") for paths in seen.values()) == [0, 6]


@pytest.mark.parametrize("names", ["", "segments.example labels.example", "labels.example *"])
def test_rest_is_asked_under_names_of_the_edge_alone(names: str, tmp_path: Path) -> None:
    ours = ["localhost", "LOCALHOST.:80", "a.localhost", "10.0.0.7:8000", "[fd00::7]:8000", "127.0.0.1"]
    named = ["segments.example", "Labels.Example.:80"]
    others = ["evil.example", "localhost.evil.example:8000", "10.0.0.7.evil", "localhost,evil", "*", "[]evil", ""]
    with in_front_of_an_echo(tmp_path / "log", EDGE_HOSTS=names) as edge:
        statuses = {host: asked_under(host, edge).status_code for host in ours + named + others}
        refused = asked_under("evil.example", edge)

    expected = ours + (named if names else []) + (others if "*" in names else [])
    assert [host for host, status in statuses.items() if status == 200] == expected
    assert "*" in names or (refused.status_code, refused.json()["type"]) == (421, "unknown-host")


def asked_under(host: str, edge: Edge) -> httpx.Response:
    return httpx.get(f"{edge.url}/v1/models", headers={"Host": host}, timeout=SOON)


def test_what_is_begun_and_does_not_go_on_is_ended_and_never_reaches_the_service(edge: Edge, server: Server) -> None:
    head = b"POST /segment HTTP/1.1\r\nHost: localhost\r\n"  # half of it, or all of it without the body
    with ExitStack() as connections:
        slow = []
        for beginning in (head, head + b"Content-Length: 1000\r\n\r\n"):
            slow.append(connections.enter_context(socket.create_connection(("127.0.0.1", edge.http), SOON)))
            slow[-1].sendall(beginning)
        channel = connections.enter_context(grpc.insecure_channel(f"127.0.0.1:{edge.grpc}"))
        silent: Any = channel.stream_stream(SEGMENT)
        empty = [silent(iter(threading.Event().wait, True)) for _ in range(30)]  # calls without a message
        until(lambda: edge.metric('haproxy_frontend_current_sessions{proxy="grpc"}') == 1)
        answered = httpx.get(f"{edge.url}/livez", timeout=SOON).status_code, bool(list_models(edge))
        until(lambda: server.metric("lexiseg_grpc_active") == 0)
        were_open = not any(each.done() for each in empty)

        refused = [each.recv(100)[:12] for each in slow]
        for each in empty:
            with pytest.raises(grpc.RpcError):
                next(each)

    assert answered == (200, True)
    assert were_open
    assert refused == [b"HTTP/1.1 408"] * 2


def test_refusals_of_large_bodies_reach_their_sender(tmp_path: Path) -> None:
    lines = [line_of("camera", "right"), line_of("spent", "spent", limits=["daily=1"])]
    with (
        on_ports(KnownBackend(), api_keys=SecretStr(",".join(lines))) as gateway,
        started(gateway.url.removeprefix("http://"), gateway.grpc, tmp_path / "log") as edge,
        httpx.Client(base_url=edge.url, timeout=SOON) as client,
    ):
        client.get("/v1/models", headers={"X-API-Key": "spent"})
        answers = [
            client.post(path, headers={"X-API-Key": key}, content=bytes(size))
            for _ in range(5)
            for size in (1_000_000, 3_000_000, 12_000_000)
            for path, key in REFUSALS
        ]

    assert [each.status_code for each in answers] == 15 * list(REFUSALS.values())
    assert all(each.headers["retry-after"] for each in answers if each.status_code == 429)


def test_a_body_larger_than_any_request_is_refused(edge: Edge) -> None:
    with socket.create_connection(("127.0.0.1", edge.http), SOON) as large:
        large.sendall(b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000000\r\n\r\n" + bytes(40_000))
        assert large.recv(100).startswith(b"HTTP/1.1 413")
    headers = {"Content-Type": "application/octet-stream"}
    head = httpx.put(f"{edge.url}/v1/heads/mugs", content=bytes(40_000_000), headers=headers, timeout=SOON)
    assert (head.status_code, head.json()["detail"][:5]) == (422, "body:")
    with Client(f"127.0.0.1:{edge.grpc}", timeout=SOON) as client, pytest.raises(TooLarge):
        client.segment(bytes(30_000_000), ["sky"])


def test_one_address_has_a_bound_of_connections(edge: Edge) -> None:
    too_many, held = 20, list[socket.socket]()
    accepted = 'haproxy_frontend_connections_total{proxy="rest"}'
    before = edge.metric(accepted)
    with ExitStack() as connections:
        for _ in range(MAX_OF_ONE_ADDRESS + too_many):
            with suppress(ConnectionResetError):
                # Of an address without connections of other tests.
                one = socket.create_connection(("127.0.0.1", edge.http), SOON, ("127.0.0.40", 0))
                held.append(connections.enter_context(one))
                one.setblocking(False)
        n_reset = MAX_OF_ONE_ADDRESS + too_many - len(held)
        until(lambda: edge.metric(accepted) - before >= MAX_OF_ONE_ADDRESS + too_many)
        until(lambda: n_reset + sum(map(was_refused, held)) >= too_many)
        n_refused = n_reset + sum(map(was_refused, held))

    # A thread of HAProxy may also count what another one is about to refuse.
    assert too_many <= n_refused < too_many + 5


def was_refused(connection: socket.socket) -> bool:
    """Whether it was closed without a word; one that is idle for long is told so."""
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@contextmanager
def unfinished(
    port: int, n_connections: int, n_streams: int, path: str, body: bytes, address: str = ELSEWHERE
) -> Iterator[None]:
    """Requests of another address that are begun over HTTP/2 and never finished, while the block runs."""
    of_rest = {"content-type": "image/jpeg", "content-length": "40960"}
    headers = {"content-type": "application/grpc", "te": "trailers"} if path == SEGMENT else of_rest
    with ExitStack() as connections:
        for _ in range(n_connections):
            connection = socket.create_connection(("127.0.0.1", port), SOON, (address, 0))
            connections.enter_context(connection).sendall(http2.unfinished(n_streams, path, headers, body))
        yield


def requests_refused(edge: Edge, frontend: str) -> float:
    return edge.metric(f'haproxy_frontend_requests_denied_total{{proxy="{frontend}"}}')


def held_by(server: Server) -> float:
    """Bytes of messages that have begun to arrive."""
    return server.metric('lexiseg_cache_bytes{cache="requests"}')


def test_a_thousand_unfinished_requests_of_one_address_leave_the_service_to_others(edge: Edge) -> None:
    before = requests_refused(edge, "rest")
    with unfinished(edge.http, 10, http2.MAX_STREAMS, "/segment", bytes(20_480)):
        until(lambda: requests_refused(edge, "rest") - before >= 10 * http2.MAX_STREAMS - MAX_OF_ONE_ADDRESS)
        others = [httpx.get(f"{edge.url}/v1/models", timeout=SOON).status_code for _ in range(20)]
        asked = httpx.post(f"{edge.url}/segment", files=form(IMAGE, "sky"), timeout=SOON)
        with httpx.Client(transport=httpx.HTTPTransport(local_address=ELSEWHERE)) as same:
            refused = same.get(f"{edge.url}/v1/models", timeout=SOON)

    assert others == [200] * 20
    assert asked.status_code == 200
    assert (refused.status_code, refused.json()["type"], refused.headers["retry-after"]) == (429, "rate-limited", "1")


@contextmanager
def half_sent(port: int, n_connections: int, address: str) -> Iterator[None]:
    """As `unfinished`, over HTTP/1.1; the edge may refuse connections."""
    head = b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 40960\r\n\r\n"
    with ExitStack() as connections:
        for _ in range(n_connections):
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", port), SOON, (address, 0)))
            with suppress(ConnectionError):
                connection.sendall(head + bytes(20_480))
        yield


MESSAGE = bytes([0, 0, 0, 0x40, 0]) + bytes(1_000)  # of 16 KiB the beginning


@pytest.mark.parametrize("over", ["HTTP/1.1", "HTTP/2", "gRPC"])
def test_what_twenty_addresses_begin_and_do_not_finish_leaves_places_to_another(over: str, edge: Edge) -> None:
    frontend = "grpc" if over == "gRPC" else "rest"
    before = requests_refused(edge, frontend)
    until(lambda: healthy(edge).status_code == 200)  # a busy machine may have missed a check of the gateway
    begun = {
        "HTTP/1.1": partial(half_sent, edge.http, MAX_OF_ONE_ADDRESS),
        "HTTP/2": partial(unfinished, edge.http, 2, http2.MAX_STREAMS, "/segment", bytes(20_480)),
        "gRPC": partial(unfinished, edge.grpc, 2, http2.MAX_STREAMS, SEGMENT, MESSAGE),
    }[over]
    with ExitStack() as attackers:
        for number in range(2, 22):
            attackers.enter_context(begun(address=f"127.0.0.{number}"))
        until(lambda: requests_refused(edge, frontend) - before >= 20 * MAX_OF_ONE_ADDRESS - 1_000)
        models = [list_models(edge) for _ in range(5)]
        others = [httpx.get(f"{edge.url}/v1/models", timeout=SOON).status_code for _ in range(21)]
        asked = httpx.post(f"{edge.url}/segment", files=form(IMAGE, "sky"), timeout=SOON)
        queued = edge.metric('haproxy_backend_max_queue{proxy="gateways_rest"}')

    assert all(models)
    assert others == [200] * 21
    assert asked.status_code == 200
    assert queued == 0


def test_unfinished_calls_of_one_address_leave_the_service_to_others(edge: Edge, server: Server) -> None:
    until(lambda: held_by(server) == 0)  # those of an earlier test have ended
    before = requests_refused(edge, "grpc")
    with unfinished(edge.grpc, 4, http2.MAX_STREAMS, SEGMENT, MESSAGE):
        until(lambda: requests_refused(edge, "grpc") - before >= 4 * http2.MAX_STREAMS - MAX_OF_ONE_ADDRESS)
        held = held_by(server)
        models = list_models(edge)

    assert models
    assert held <= MAX_OF_ONE_ADDRESS * 16_384


def test_calls_that_wait_for_room_do_not_stop_the_ones_that_have_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(
        0, 256, (600, 600, 3), np.uint8
    )  # of more bytes than HAProxy takes at once
    settings: dict[str, Any] = {"max_bytes_in_flight": 4 << 20, "deadline_seconds": 2 * SOON}
    with (
        on_ports(KnownBackend(), **settings) as gateway,
        started(gateway.url.removeprefix("http://"), gateway.grpc, tmp_path / "log") as edge,
        Client(f"127.0.0.1:{edge.grpc}", timeout=SOON) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        answers = [*threads.map(lambda _: client.segment(noise, ["sky"]), range(8))]

    assert [len(answer) for answer in answers] == [1] * 8


def list_models(edge: Edge) -> list[str]:
    with grpc.insecure_channel(f"127.0.0.1:{edge.grpc}") as channel:
        answer = SegmentationStub(channel).ListModels(pb.ListModelsRequest(), timeout=SOON)
    return [card.name for card in answer.models]


@pytest.mark.parametrize("path", ["/metrics", "/%6Detrics", "/metrics?x=1"])
def test_metrics_are_not_for_clients(edge: Edge, path: str) -> None:
    refused = httpx.get(f"{edge.url}{path}", timeout=SOON)

    assert (refused.status_code, refused.json()["type"]) == (404, "no-such-route")


def test_the_edge_is_healthy_as_long_as_a_gateway_is(edge: Edge, tmp_path: Path) -> None:
    assert healthy(edge).status_code == 200

    class Unready(Quiet):
        ready = True

        def do_GET(self) -> None:
            self.send_response(200 if Unready.ready else 503)
            self.end_headers()

    with serving(Unready) as gateway:
        address = gateway.removeprefix("http://")
        with started(address, address, tmp_path / "log") as before_it:
            Unready.ready = False
            until(lambda: healthy(before_it).status_code == 503)
            refused = httpx.get(f"{before_it.url}/v1/models", timeout=SOON)
            n_ready = before_it.metric('haproxy_backend_active_servers{proxy="gateways_rest"}')

    assert n_ready == 0
    assert (refused.status_code, refused.json()["type"], refused.headers["retry-after"]) == (503, "not-ready", "1")


@pytest.mark.parametrize("path", ["/readyz", "/%72eadyz"])
def test_clients_are_told_whether_it_is_ready_and_no_names_of_workers(edge: Edge, path: str) -> None:
    answer = httpx.get(f"{edge.url}{path}", timeout=SOON)

    assert (answer.status_code, answer.json()["status"], answer.json()["degraded"]) == (200, "ready", [])
    assert "workers" not in answer.text


def test_the_edge_has_the_services_own_words_for_errors() -> None:
    own = {each.type: (each.status, each.title) for each in all_errors(ServiceError)}
    texts = re.findall(r'string "(\{.*?\})"', CONFIGURATION.read_text())
    problems = [problem for text in texts if "type" in (problem := json.loads(text.replace('\\"', '"')))]

    assert {problem["status"] for problem in problems} == {404, 408, 413, 421, 429, 502, 503, 504}
    for problem in problems:
        if problem["status"] not in (404, 502):  # of no class
            assert (problem["status"], problem["title"]) == own[problem["type"]]


def all_errors(root: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for each in root.__subclasses__():
        yield each
        yield from all_errors(each)


def healthy(edge: Edge) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{edge.metrics}/healthz", timeout=SOON)


def test_each_request_is_a_line_of_the_log_without_its_question(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with in_front_of_an_echo(log) as edge:
        httpx.get(f"{edge.url}/v1/segment?classes=pagoda", timeout=SOON)
        until(lambda: "/v1/segment" in log.read_text())

    (line,) = [line for line in log.read_text().splitlines() if "/v1/segment" in line]
    assert line.startswith("127.0.0.1:")
    assert " rest gateways_rest/gateway1 " in line
    assert line.endswith('"GET /v1/segment HTTP/1.1"')


def test_both_protocols_pass_over_tls(server: Server, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    pem = authority.cert_pem.bytes()
    trust = ssl.create_default_context(cadata=pem.decode())
    settings = {"EDGE_TLS": f"ssl crt {tmp_path}/tls.crt"}
    with started(server.url.removeprefix("http://"), server.grpc, tmp_path / "log", **settings) as edge:
        rest = httpx.get(f"https://127.0.0.1:{edge.http}/v1/models", verify=trust, timeout=SOON)
        credentials = grpc.ssl_channel_credentials(pem)
        with grpc.secure_channel(f"127.0.0.1:{edge.grpc}", credentials) as channel:
            models = SegmentationStub(channel).ListModels(pb.ListModelsRequest(), timeout=SOON).models

    assert [card["name"] for card in rest.json()["models"]] == [card.name for card in models]
    assert rest.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize("path", ["/v1/models", "/readyz"])
def test_without_tls_nobody_is_told_to_use_it(edge: Edge, path: str) -> None:
    assert "strict-transport-security" not in httpx.get(f"{edge.url}{path}", timeout=SOON).headers


@contextmanager
def in_front_of_an_echo(log: Path, **settings: str) -> Iterator[Edge]:
    """The gateway's place is taken by a server that answers with the client's address as it got it."""

    class Echo(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers.get("X-Forwarded-For", "").encode())

    with serving(Echo) as gateway:
        address = gateway.removeprefix("http://")
        with started(address, address, log, **settings) as edge:
            yield edge


CLIENT, OWN_WORD, PROXY = "203.0.113.9", "198.51.100.7", "10.0.0.4"
FORWARDED: list[tuple[str | None, str]] = [  # what a proxy at 127.0.0.1 sends, and whose request it is
    (None, "127.0.0.1"),
    (CLIENT, CLIENT),
    (f"{OWN_WORD}, {CLIENT}", CLIENT),
    (f"{OWN_WORD}, {CLIENT}, {PROXY}", CLIENT),
    (f"{OWN_WORD}, {CLIENT}:4711, {PROXY}, {PROXY}", CLIENT),
    (f"{OWN_WORD}, unknown, {PROXY}", PROXY),
    (f"{OWN_WORD}, unknown", "127.0.0.1"),
    (f"{OWN_WORD}, 2001:db8::9", "2001:db8::9"),
    (f"{CLIENT}{f', {PROXY}' * 4}", PROXY),  # more proxies than it follows
]


def test_behind_trusted_proxies_the_client_is_the_last_address_that_is_not_trusted(tmp_path: Path) -> None:
    with in_front_of_an_echo(tmp_path / "log", EDGE_PROXIES="10.0.0.0/8 127.0.0.0/8") as edge:
        seen = []
        for forwarded, _ in FORWARDED:
            headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
            seen.append(httpx.get(f"{edge.url}/x", headers=headers, timeout=SOON).text)

    assert seen == [client for _, client in FORWARDED]


def test_requests_in_flight_are_counted_for_the_client_behind_a_proxy(tmp_path: Path) -> None:
    with in_front_of_an_echo(tmp_path / "log", EDGE_PROXIES="127.0.0.0/8") as edge:
        path, headers = "/segment", {"content-length": "40960", "x-forwarded-for": f"{OWN_WORD}, {CLIENT}"}
        with ExitStack() as connections:
            for _ in range(3):
                connection = socket.create_connection(("127.0.0.1", edge.http), SOON)
                connections.enter_context(connection).sendall(http2.unfinished(http2.MAX_STREAMS, path, headers))
            until(lambda: requests_refused(edge, "rest") >= 3 * http2.MAX_STREAMS - MAX_OF_ONE_ADDRESS)
            statuses = [
                httpx.get(f"{edge.url}/x", headers={"X-Forwarded-For": address}, timeout=SOON).status_code
                for address in (CLIENT, OWN_WORD)
            ]

    assert statuses == [429, 200]


def test_without_a_trusted_proxy_the_address_of_a_client_is_the_edges_word(tmp_path: Path) -> None:
    with in_front_of_an_echo(tmp_path / "log") as edge:
        answer = httpx.get(f"{edge.url}/x", headers={"X-Forwarded-For": CLIENT}, timeout=SOON)

    assert answer.text == "127.0.0.1"
