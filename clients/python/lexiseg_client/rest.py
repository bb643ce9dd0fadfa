"""The REST transport: requests for each call, httpx arguments and errors, and what a server says of itself."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx

from lexiseg_client.address import PREFIX, USER_AGENT, Address
from lexiseg_client.calling.steps import Call, Retry, Send, with_retries
from lexiseg_client.errors import (
    Forbidden,
    NoServer,
    NoSuchHost,
    NotFound,
    NotOffered,
    ProxyFailed,
    TimedOut,
    Unreachable,
    UnreadableAnswer,
    UntrustedCertificate,
    WrongScheme,
    error_of,
    read_problem,
    untrusted_text,
)
from lexiseg_client.images import Source, Upload
from lexiseg_client.question import has_files, source_json
from lexiseg_labels.segmentation import Segmentation

CONNECT_TIMEOUT = 10.0  # seconds
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)
PROXY_KEY_NEEDED = 407  # Proxy Authentication Required
PROXY_STATUSES = (502, 503, 504)  # of a proxy with servers that are away


@dataclass(frozen=True)
class Model:
    """A model of the server. `card` holds every field of the server's answer."""

    name: str
    version: str
    summary: str
    tasks: tuple[str, ...]
    licence: str
    digest: str | None  # of the weights; None while they are not loaded
    loaded: bool
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Health:
    """A server's health. `degraded`: parts that work below par without changing answers."""

    alive: bool
    ready: bool
    detail: str
    degraded: tuple[str, ...] = ()


def model_of(card: dict[str, Any]) -> Model:
    """A model from its JSON. Raises TypeError, ValueError, LookupError: a member is missing or invalid."""
    unset = {"summary": "", "licence": "", "digest": None}
    return of_json(Model, unset | card, tasks=tuple(card["tasks"]), card=card)


def of_json(kind: type[T], document: Mapping[str, Any], **converted: Any) -> T:
    """A dataclass of the members of a JSON object that it has fields for; `converted` are fields with other values."""
    names = {item.name for item in fields(cast("Any", kind))}
    return kind(**{name: value for name, value in document.items() if name in names} | converted)


class RestTransport:
    """Transport for http and https addresses. `deadline` is a time of the client's clock."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry

    def segment(self, source: Source, question: Mapping[str, Any], deadline: float) -> Call[Segmentation]:
        body: dict[str, Any]
        if isinstance(source, Upload) and not has_files(question):
            form = {"request": json.dumps(question, allow_nan=False)}
            body = {"files": {"image": ("image", source.content)}, "data": form}
        else:
            body = {"json": {"image": source_json(source), **question}}
        return self.ask(Send("POST", f"{PREFIX}/segment", body=body), json_as(Segmentation.from_dict), deadline)

    def models(self, deadline: float) -> Call[list[Model]]:
        parse = json_as(lambda page: [model_of(entry) for entry in page["models"]])
        return self.ask(Send("GET", f"{PREFIX}/models"), parse, deadline)

    def model(self, name: str, deadline: float) -> Call[Model]:
        return self.ask(Send("GET", f"{PREFIX}/models/{quote(name, safe='@')}"), json_as(model_of), deadline)

    def health(self, timeout: float) -> Call[Health]:
        alive = yield from self._probe("/livez", timeout)
        ready = yield from self._probe("/readyz", timeout)
        return Health(
            alive=alive["status"] == "alive",
            ready=ready["status"] == "ready",
            detail=str(ready["detail"]),
            degraded=tuple(ready.get("degraded", ())),
        )

    def grpc_port(self, deadline: float) -> Call[int | None]:
        """The port of gRPC of GET /livez; None: an older server does not say it, or a proxy lacks the route."""
        try:
            port = (yield from self.ask(Send("GET", "/livez"), json_as(dict), deadline)).get("grpc_port")
        except (Forbidden, NotFound):
            return None
        return port if isinstance(port, int) else None

    def _probe(self, path: str, timeout: float) -> Call[dict[str, Any]]:
        reply: httpx.Response = yield Send("GET", path, timeout=timeout)
        if reply.status_code in PROXY_STATUSES and "json" not in reply.headers.get("content-type", ""):
            raise Unreachable(f"a proxy answered {path} with {reply.status_code}: no server is ready", is_sent=True)
        health = read(reply.content, dict)
        if not {"status", "detail"} <= health.keys():
            raise UnreadableAnswer(f"the server that answered {path} with {reply.status_code} is not lexiseg")
        return health

    def ask(self, request: Send, parse: Callable[[httpx.Response], T], deadline: float) -> Call[T]:
        """What `parse` makes of the reply to a request, which is sent again as its retries allow."""
        return with_retries(request, lambda reply: parse(accepted(reply)), self._retry, deadline)


def json_as(build: Callable[[dict[str, Any]], T]) -> Callable[[httpx.Response], T]:
    """Makes an object of a reply, by its JSON object; raises as `read`."""
    return lambda reply: read(reply.content, build)


def read(content: bytes, build: Callable[[dict[str, Any]], T]) -> T:
    """Parse a JSON object and pass it to `build`."""
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise TypeError(f"expected a JSON object, got {type(document).__name__}")
        return build(document)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UnreadableAnswer(f"the server is not lexiseg, or another version: {error!r:.200}") from None


def accepted(reply: httpx.Response) -> httpx.Response:
    """A reply that is 2xx. Raises ProblemError: another one; of a proxy's without a problem document a generic one."""
    if reply.is_success:
        return reply
    problem = read_problem(_document(reply), reply.status_code)
    raise error_of(problem, retry_after(reply.headers.get("retry-after")))


def _document(reply: httpx.Response) -> dict[str, object]:
    if reply.has_redirect_location:
        place = reply.headers["location"].partition(f"{PREFIX}/")[0]
        return {"detail": f"the server, or a proxy before it, redirects to {place:.200}: write the right address"}
    try:
        document = json.loads(reply.content) if "json" in reply.headers.get("content-type", "") else None
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    return {"detail": f"the server, or a proxy before it, answered {reply.status_code} without a problem document"}


def retry_after(header: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds from a `Retry-After` header, which holds a number or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now())
    except (TypeError, ValueError):
        return None


def arguments(address: Address, request: Send) -> dict[str, Any]:
    """The keyword arguments of `httpx.Client.request` for a step. Raises NotOffered: a gRPC address."""
    if address.protocol == "grpc":
        raise NotOffered("vocabularies, heads and jobs are for REST: use a client with the http address")
    return {
        "method": request.method,
        "url": address.url + request.path,
        "headers": {"User-Agent": USER_AGENT, **address.headers, **request.headers},
        "timeout": httpx.Timeout(request.timeout, connect=min(CONNECT_TIMEOUT, request.timeout)),
        **request.body,
    }


class Connecting:
    """Where httpx connects for a request: to the server, or to the proxy of its settings or of the environment.

    Its methods are the `trace` extension of a request (https://www.python-httpx.org/advanced/extensions/#trace).
    """

    def __init__(self) -> None:
        self.place: tuple[str, int] | None = None

    def trace(self, event: str, details: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.started"):
            host = details["host"]
            self.place = (host.decode("ascii") if isinstance(host, bytes) else host, details["port"])

    async def trace_async(self, event: str, details: Mapping[str, Any]) -> None:
        self.trace(event, details)

    def proxy(self, url: str) -> str:
        """The proxy between here and a URL, for a sentence; with HOST:PORT, unless an earlier request connected."""
        place = f"{self.place[0]}:{self.place[1]} " if self.place else ""
        return f"the proxy {place}on the way to {url}"

    def is_to_proxy(self, url: str) -> bool:
        """Whether the connection was to another place than the URL's own host and port."""
        server = httpx.URL(url)
        port = server.port or (443 if server.scheme == "https" else 80)
        return self.place not in (None, (server.raw_host.decode("ascii"), port))

    def of_server(self, reply: httpx.Response, url: str) -> httpx.Response:
        """The reply itself. Raises ProxyFailed: it is one that only a proxy gives."""
        if reply.status_code == PROXY_KEY_NEEDED:
            text = f"{self.proxy(url)} refuses ({reply.status_code} {reply.reason_phrase})"
            raise ProxyFailed(text, is_sent=False)
        return reply


@contextmanager
def translate_errors(base: str, connecting: Connecting) -> Iterator[None]:
    try:
        yield
    except httpx.ProxyError as error:
        raise ProxyFailed(f"{connecting.proxy(base)} refuses ({_text(error)})", is_sent=False) from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        if (untrusted := _cause(error, ssl.SSLCertVerificationError)) is not None:
            raise UntrustedCertificate(untrusted_text(base, untrusted.verify_message), is_sent=False) from error
        if "WRONG_VERSION_NUMBER" in str(error):
            host = httpx.URL(base).netloc.decode("ascii")
            text = (
                f"{host} speaks without TLS: write {base.replace('https', 'http', 1)}, or {host} for gRPC, not {base}"
            )
            raise WrongScheme(text, is_sent=False) from error
        if connecting.is_to_proxy(base):
            raise ProxyFailed(f"{connecting.proxy(base)} does not answer ({_text(error)})", is_sent=False) from error
        unresolved = _cause(error, socket.gaierror)
        kind = NoSuchHost if unresolved is not None and unresolved.errno == socket.EAI_NONAME else NoServer
        raise kind(f"no server answers at {base} ({_text(error)})", is_sent=False) from error
    except httpx.TimeoutException as error:
        raise TimedOut(f"{base} did not answer in time") from error
    except httpx.DecodingError as error:
        raise UnreadableAnswer(f"the response of {base} cannot be decompressed: {error}") from error
    except httpx.TransportError as error:
        if isinstance(error, httpx.RemoteProtocolError) and str(error).startswith("illegal "):
            host = httpx.URL(base).netloc.decode("ascii")
            raise WrongScheme(
                f"{host} does not speak HTTP/1.1: write {host} for gRPC, not {base}", is_sent=False
            ) from error
        raise Unreachable(f"the connection to {base} broke ({_text(error)})", is_sent=True) from error


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _cause(error: BaseException | None, kind: type[E]) -> E | None:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error
