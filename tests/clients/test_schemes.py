"""An address with the wrong scheme fails at once, with the right one in the message."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import pytest

from lexiseg_client import AsyncClient, Client, Unreachable, WrongScheme
from tests.clients.scripted_server import MODELS, Say, scripted

LONG = 60.0  # seconds of a call that is repeated


class Ports(NamedTuple):
    """HOST:PORT of a server of each scheme without TLS."""

    http: str
    grpc: str


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    with scripted(Say(200, MODELS)) as http:
        server.start()
        yield Ports(http.url.partition("://")[2], f"127.0.0.1:{port}")
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("scheme", "actual"),
    [("grpc", "http"), ("https", "http"), ("grpcs", "http"), ("http", "grpc"), ("https", "grpc"), ("grpcs", "grpc")],
)
def test_an_address_of_another_protocol_is_named_at_once(scheme: str, actual: str, ports: Ports) -> None:
    place = getattr(ports, actual)
    expected = f"http://{place}" if actual == "http" else f"{place} for gRPC"

    with Client(f"{scheme}://{place}", timeout=LONG) as client, pytest.raises(WrongScheme, match=expected):
        client.models()


def test_a_host_and_a_port_of_http_alone_are_answered_with_the_address(ports: Ports) -> None:
    with Client(ports.http, timeout=LONG) as client, pytest.raises(WrongScheme, match=f"write http://{ports.http}"):
        client.wait_until_ready()


async def test_the_awaited_client_says_so_too(ports: Ports) -> None:
    async with AsyncClient(f"https://{ports.http}", timeout=LONG) as client:
        with pytest.raises(WrongScheme, match=f"write http://{ports.http}"):
            await client.models()


def test_a_wrong_scheme_is_an_unreachable_server(ports: Ports) -> None:
    with Client(f"https://{ports.http}/api") as client, pytest.raises(Unreachable, match=f"http://{ports.http}/api"):
        client.models()
