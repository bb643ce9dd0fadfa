"""What no retry changes is named at the first attempt: a certificate, a proxy, a name, a scheme, a closed client."""

import socket
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
import trustme

from lexiseg_client import (
    AsyncClient,
    Client,
    ClosedClient,
    NoServer,
    NoSuchHost,
    ProxyFailed,
    Retry,
    Unreachable,
    UntrustedCertificate,
    WrongScheme,
)
from tests.clients.rpc import scripted_grpc
from tests.clients.rpc.scripted_grpc import Servicer
from tests.clients.scripted_server import MODELS, Say, scripted
from tests.http_server import Quiet, serving

LONG = 600.0  # seconds of a call that would be repeated
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def check_fails_at_once(url: str, kind: type[Unreachable], said: str, **arguments: Any) -> None:
    with Client(url, timeout=LONG, **arguments) as client, pytest.raises(kind, match=said):
        client.models()


class Secure(NamedTuple):
    https: str
    grpcs: str
    authority: trustme.CA


@pytest.fixture(scope="module")
def secure() -> Iterator[Secure]:
    """Servers whose certificates no system trusts."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    with scripted(Say(200, MODELS), tls=context) as https, scripted_grpc.scripted(Servicer(), issued) as target:
        yield Secure(https.url, f"grpcs://{target}", authority)


@pytest.mark.parametrize("protocol", ["https", "grpcs"])
@pytest.mark.parametrize("call", ["models", "wait_until_ready"])
def test_a_certificate_that_is_not_trusted_is_named_at_once(secure: Secure, protocol: str, call: str) -> None:
    url = getattr(secure, protocol)
    with (
        Client(url, timeout=LONG) as client,
        pytest.raises(UntrustedCertificate, match=r"127\.0\.0\.1.*not trusted .*local issuer"),
    ):
        getattr(client, call)()


def test_a_certificate_of_another_name_is_named_too(secure: Secure) -> None:
    context = ssl.create_default_context()
    secure.authority.configure_trust(context)
    url = secure.https.replace("127.0.0.1", "localhost")
    with httpx.Client(verify=context) as http:
        check_fails_at_once(url, UntrustedCertificate, "localhost", http=http)


async def test_the_awaited_client_names_them_too(secure: Secure, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncClient(secure.https, timeout=LONG) as client:
        with pytest.raises(UntrustedCertificate):
            await client.models()
    monkeypatch.setenv("http_proxy", f"http://{dead}")
    async with AsyncClient("http://lexiseg.example", timeout=LONG) as client:
        with pytest.raises(ProxyFailed, match=dead):
            await client.models()


@pytest.mark.parametrize("url", ["http://lexiseg.example", "https://lexiseg.example", "grpc://lexiseg.example:50051"])
def test_a_proxy_of_the_environment_that_is_away_is_named_at_once(
    url: str, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://{dead}")

    check_fails_at_once(url, ProxyFailed, f"proxy.*{dead}|{dead}.*refused")


def test_a_proxy_of_the_caller_that_is_away_is_named_at_once(dead: str) -> None:
    with httpx.Client(proxy=f"http://{dead}") as http:
        check_fails_at_once("http://lexiseg.example", ProxyFailed, dead, http=http)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_named_at_once(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Quiet):
        def do_CONNECT(self) -> None:
            self.send_error(407)

        do_GET = do_CONNECT  # of plain HTTP

    with serving(Refusing) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy)
        said = f"the proxy {proxy.removeprefix('http://')} on the way to .* refuses .407 Proxy Authentication"
        check_fails_at_once(f"{scheme}://lexiseg.example", ProxyFailed, said)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_away_is_no_proxy(dead: str, scheme: str) -> None:
    check_fails_at_once(f"{scheme}://{dead}", NoServer, f"no server.*{dead}", retry=Retry(most=0))


@pytest.mark.parametrize("scheme", ["http", "https", "grpc"])
def test_a_host_that_nobody_has_is_named_at_once(scheme: str) -> None:
    try:
        socket.getaddrinfo("lexiseg.invalid", 80)
    except socket.gaierror as error:
        if error.errno != socket.EAI_NONAME:
            pytest.skip(f"no resolver that knows which names there are: {error}")

    check_fails_at_once(f"{scheme}://lexiseg.invalid:8000", NoSuchHost, r"no server answers at .*lexiseg\.invalid")


class Ports(NamedTuple):
    """HOST:PORT of a server of each scheme without TLS."""

    http: str
    grpc: str


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with scripted(Say(200, MODELS)) as http, scripted_grpc.scripted(Servicer()) as target:
        yield Ports(http.url.partition("://")[2], target)


@pytest.mark.parametrize(
    ("scheme", "actual"),
    [("grpc", "http"), ("https", "http"), ("grpcs", "http"), ("http", "grpc"), ("https", "grpc"), ("grpcs", "grpc")],
)
def test_an_address_of_another_protocol_is_named_at_once(scheme: str, actual: str, ports: Ports) -> None:
    place = getattr(ports, actual)
    expected = f"http://{place}" if actual == "http" else f"{place} for gRPC"

    check_fails_at_once(f"{scheme}://{place}", WrongScheme, expected)


async def test_a_closed_client_says_so() -> None:
    client, awaited = Client("http://localhost:1"), AsyncClient("grpc://localhost:1")
    client.close()
    await awaited.aclose()

    with pytest.raises(ClosedClient, match="closed"):
        client.models()
    with pytest.raises(ClosedClient, match="closed"):
        await awaited.models()
