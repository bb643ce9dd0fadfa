"""What the pages of other sites may ask, over real HTTP."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr, ValidationError

from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.settings import Settings
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import form, on_ports, serving
from tests.waiting import SOON

LIST = json.dumps({"classes": ["sky"]})
JSON = {"Content-Type": "application/json"}
OTHER = "https://evil.example"
WRITES = [("PUT", "/v1/vocabularies/mine"), ("DELETE", "/v1/vocabularies/mine"), ("POST", "/v1/segment")]


@pytest.fixture(scope="module")
def loopback() -> Iterator[str]:
    with on_ports(KnownBackend(), adapters=("mcp",)) as ports:
        yield ports.url


def ask(url: str, method: str, path: str, body: str | None = None, **headers: str) -> http.client.HTTPResponse:
    """Ask with headers as they are written; `Host` is the URL's own unless it is among them."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in named)
    content = (body or "").encode()
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **named}.items():
        connection.putheader(name, value)
    connection.endheaders(content)
    answer = connection.getresponse()
    answer.problem = json.loads(answer.read() or b"{}") if answer.status >= 400 else {}  # type: ignore[attr-defined]
    connection.close()
    return answer


def type_of(answer: Any) -> tuple[int, str]:
    return answer.status, answer.problem["type"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.7", "[", ""])
@pytest.mark.parametrize(("method", "path"), [*WRITES, ("GET", "/"), ("GET", "/readyz"), ("POST", "/mcp")])
def test_a_loopback_address_is_not_reached_under_another_name(loopback: str, host: str, method: str, path: str) -> None:
    answer = ask(loopback, method, path, LIST, Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin")

    assert type_of(answer) == (421, "unknown-host")


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:1", "localhost.", "a.localhost", "127.0.0.1:80", "127.8.8.8", "[::1]:8000"]
)
def test_the_names_of_this_machine_are_answered(loopback: str, host: str) -> None:
    assert ask(loopback, "GET", "/v1/vocabularies", Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": OTHER}, {"Origin": "null"}, {"Origin": "http://["}, {"Origin": "http://localhost:1"},
        {"Origin": OTHER, "Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [*WRITES, ("POST", "/mcp")])
def test_a_page_of_another_site_cannot_write(loopback: str, headers: dict[str, str], method: str, path: str) -> None:
    assert type_of(ask(loopback, method, path, LIST, **headers)) == (403, "cross-site")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "HERE"}, {"Origin": "HERE", "Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}],
    ids=["no browser", "a page over HTTP", "the page", "the address bar"],
)
def test_the_own_page_and_programs_write(loopback: str, headers: dict[str, str]) -> None:
    sent = {name: value.replace("HERE", loopback) for name, value in headers.items()}

    written = ask(loopback, "PUT", "/v1/vocabularies/own", LIST, **sent)
    deleted = ask(loopback, "DELETE", "/v1/vocabularies/own", **sent)

    assert (written.status, deleted.status) == (201, 204)


def test_another_site_may_read_what_everybody_may(loopback: str) -> None:
    assert ask(loopback, "GET", "/v1/models", Origin=OTHER, Sec_Fetch_Site="cross-site").status == 200


@pytest.mark.parametrize("origins", [(OTHER,), ("*",)], ids=str)
async def test_a_page_that_the_settings_name_writes(origins: tuple[str, ...]) -> None:
    async with serving(cors_origins=origins) as client:
        headers = {"Origin": OTHER, "Sec-Fetch-Site": "cross-site"}
        written = await client.put("/v1/vocabularies/own", content=LIST, headers=headers | JSON)

    assert written.status_code == 201


@pytest.mark.parametrize(
    ("settings", "answered", "refused"),
    [
        (
            {"allowed_hosts": ("Segments.Example.",)},
            ("segments.example:8000", "localhost"),
            ("evil.example", "10.0.0.7"),
        ),
        ({"allowed_hosts": ("*",)}, ("evil.example", "10.0.0.7"), ()),
        ({"host": "0.0.0.0"}, ("10.0.0.7:8000", "[fd00::7]", "localhost"), ("evil.example", "10.0.0.7.evil")),
        ({"host": "0.0.0.0", "allowed_hosts": ("a.example",)}, ("a.example", "10.0.0.7:8000"), ("evil.example",)),
    ],
    ids=["a name", "any name", "all addresses", "all addresses, a name"],
)
async def test_the_settings_name_further_hosts(
    settings: dict[str, Any], answered: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    async with serving(**settings) as client:
        statuses = {
            host: (await client.get("/readyz", headers={"Host": host})).status_code for host in answered + refused
        }

    assert statuses == dict.fromkeys(answered, 200) | dict.fromkeys(refused, 421)


def test_a_request_without_a_host_is_of_no_browser(loopback: str) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(loopback).port or 0), SOON) as client:
        client.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")

        assert b" 200 OK" in client.recv(4096)


@pytest.mark.parametrize("wrong", ["http://a.example", "a.example:80", "*.example", "a/b"])
def test_a_name_that_no_host_header_holds_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="without a port"):
        Settings(allowed_hosts=(wrong,))


PAGE = "https://labels.example"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,x-api-key,content-type",
}
KEYS = SecretStr(line_of("page", "k"))


async def test_by_default_no_other_page_may_ask() -> None:
    async with serving() as client:
        answer = await client.get("/models", headers={"Origin": PAGE})
        preflight = await client.options("/segment", headers=PREFLIGHT)

    assert not [name for name in (*answer.headers, *preflight.headers) if name.startswith("access-control")]


async def test_a_page_that_is_named_may_ask() -> None:
    async with serving(cors_origins=(PAGE,), api_keys=KEYS) as client:
        preflight = await client.options("/segment", headers=PREFLIGHT)
        answer = await client.get("/vocabularies/voc20", headers={"Origin": PAGE, "X-API-Key": "k"})

    assert (preflight.status_code, answer.status_code) == (200, 200)
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert {"ETag", "X-Image-Id", "X-Segments"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_can_read_a_refusal_and_a_failure() -> None:
    backend = KnownBackend(failure=RuntimeError("boom"))
    async with serving(backend=backend, cors_origins=(PAGE,), api_keys=KEYS) as client:
        refusal = await client.get("/models", headers={"Origin": PAGE})
        failure = await client.post("/segment", files=form("sky"), headers={"Origin": PAGE, "X-API-Key": "k"})

    assert (refusal.status_code, failure.status_code) == (401, 500)
    assert {answer.headers["access-control-allow-origin"] for answer in (refusal, failure)} == {PAGE}


@pytest.mark.parametrize("wrong", ["example.org", "https://a.example/", "https://a.example/path", "https://*.example"])
def test_an_origin_that_no_browser_sends_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="or origins like"):
        Settings(cors_origins=(wrong,))
