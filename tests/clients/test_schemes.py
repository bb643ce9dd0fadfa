"""An address with the wrong scheme fails at once, with the right one in the message."""

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import pytest
import trustme

from lexiseg_client import AsyncClient, Client, Unreachable, WrongScheme
from lexiseg_client.address import read_address
from lexiseg_client.calling.schemes import refuse_wrong_scheme
from tests.clients.scripted_server import MODELS, Say, scripted

LONG = 60.0  # seconds of a call that is repeated


class Ports(NamedTuple):
    """HOST:PORT of a server of each scheme."""

    http: str
    https: str
    grpc: str
    grpcs: str


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    issued = trustme.CA().issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)])
    plain, secure = (grpc.server(ThreadPoolExecutor(1)) for _ in range(2))
    of_plain = plain.add_insecure_port("127.0.0.1:0")
    of_secure = secure.add_secure_port("127.0.0.1:0", credentials)
    with scripted(Say(200, MODELS)) as http, scripted(Say(200, MODELS), tls=context) as https:
        for server in (plain, secure):
            server.start()
        yield Ports(
            http.url.partition("://")[2],
            https.url.partition("://")[2],
            f"127.0.0.1:{of_plain}",
            f"127.0.0.1:{of_secure}",
        )
        for server in (plain, secure):
            server.stop(None).wait()


@pytest.mark.parametrize(
    ("written", "speaks"),
    [
        ("grpc", "http"), ("https", "http"), ("grpcs", "http"),
        ("http", "https"), ("grpc", "https"), ("grpcs", "https"),
        ("http", "grpc"), ("https", "grpc"), ("grpcs", "grpc"),
        ("grpc", "grpcs"),
    ],
)  # fmt: skip
def test_the_right_scheme_is_named_at_once(written: str, speaks: str, ports: Ports) -> None:
    place = getattr(ports, speaks)
    said = f"{place} speaks .*: write {speaks}://{place}, not {written}://{place}$"

    with Client(f"{written}://{place}", timeout=LONG) as client, pytest.raises(WrongScheme, match=said):
        client.models()


def test_a_host_and_a_port_of_http_alone_are_answered_with_the_address(ports: Ports) -> None:
    with Client(ports.http, timeout=LONG) as client, pytest.raises(WrongScheme, match=f"write http://{ports.http}"):
        client.wait_until_ready()


async def test_the_awaited_client_says_so_too(ports: Ports) -> None:
    async with AsyncClient(f"https://{ports.http}", timeout=LONG) as client:
        with pytest.raises(WrongScheme, match=f"write http://{ports.http}"):
            await client.models()


@pytest.mark.parametrize("scheme", Ports._fields)
def test_the_right_scheme_is_no_fault(scheme: str, ports: Ports) -> None:
    refuse_wrong_scheme(read_address(f"{scheme}://{getattr(ports, scheme)}", None, None))


def test_a_wrong_scheme_is_an_unreachable_server(ports: Ports) -> None:
    with Client(f"https://{ports.http}/api") as client, pytest.raises(Unreachable, match=f"http://{ports.http}/api"):
        client.models()
