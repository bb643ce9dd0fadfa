"""A real HTTPS server with certificates for made-up names, and a resolver of these names."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any, NamedTuple

import httpx
import trustme

from lexiseg_service.image.url_fetch import FIELD, SECONDS, Address, HostGuard, Resolve, UrlFetcher

LOOPBACK = ip_network("127.0.0.1/32")
Answer = Callable[[BaseHTTPRequestHandler], None]


class Seen(NamedTuple):
    """One request as the server saw it."""

    path: str
    server_name: str | None  # of the TLS handshake
    headers: dict[str, str]


class _LoopbackIsPublic(HostGuard):
    def _is_allowed(self, url: httpx.URL, address: Address) -> bool:
        is_here = self._to_public and address in LOOPBACK and self._is_plain(url)
        return is_here or super()._is_allowed(url, address)


def fetcher(names: Resolve, **known: Any) -> UrlFetcher:
    """One that comes to public hosts, and to those that are named as `own`."""
    return UrlFetcher(1000, HostGuard(FIELD, names, setting="LEXISEG_URL_NETWORKS", **known))


class ImageServer:
    """Answers paths by `routes`; `seen` holds every request."""

    def __init__(self, *names: str) -> None:
        self.routes: dict[str, Answer] = {}
        self.seen: list[Seen] = []
        authority = trustme.CA()
        identity = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(identity)
        identity.sni_callback = self._greet
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        self._server_name: str | None = None
        self.http = _Quiet(("127.0.0.1", 0), self._handler())
        self.http.socket = identity.wrap_socket(self.http.socket, server_side=True)
        self.port: int = self.http.server_address[1]

    def url(self, path: str, name: str = "pictures.example") -> str:
        return f"https://{name}:{self.port}{path}"

    def fetcher(self, names: Resolve, *, max_bytes: int = 1000, seconds: float = SECONDS, **known: Any) -> UrlFetcher:
        """One that may come to this server, and to nothing else that is not public."""
        of_guard: dict[str, Any] = {"ports": frozenset({self.port}), "trust": self.trust, **known}
        guard = _LoopbackIsPublic(FIELD, names, setting="LEXISEG_URL_NETWORKS", **of_guard)
        return UrlFetcher(max_bytes, guard, seconds)

    def _greet(self, _: object, name: str | None, __: object) -> None:
        self._server_name = name  # handshakes come one after the other, in the accepting thread

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append(Seen(self.path, server._server_name, dict(self.headers)))
                server.routes[self.path](self)

            def log_message(self, *_: object) -> None: ...

        return Handler


class _Quiet(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for the answers

    def handle_error(self, *_: object) -> None:
        """A client that goes in the middle is what some tests are about."""


@contextmanager
def serving_images(*names: str) -> Iterator[ImageServer]:
    server = ImageServer(*names)
    # It looks for the end every 20 ms.
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()


class Names:
    """A resolver: each name's answers in turn, the last one for ever; `asked` holds every question."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.asked: list[str] = []
        self._answers = {f"{name}.example": list(each) for name, each in answers.items()}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        await asyncio.sleep(0)
        if host not in self._answers:
            raise OSError("no such name")
        answers = self._answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def content(body: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer with a Content-Length, unless `headers` bring another."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


def chunked(piece: bytes, n: int) -> Answer:
    """A body of n chunks, each with a piece."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) * n + b"0\r\n\r\n")

    return write


def redirect(to: str, **headers: str) -> Answer:
    return content(b"", 302, Location=to, **headers)


def endless(part: bytes, between: Callable[[], object] = lambda: None) -> Answer:
    """A body without a length that ends when the client goes."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(part)
            between()

    return write
