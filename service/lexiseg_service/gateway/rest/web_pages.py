"""Requests that the page of another site sends from a browser.

Host: by DNS rebinding a page reaches an address behind its visitor's firewall under a name of its own, and then counts
as same-origin. gRPC needs no such check: no browser speaks it.
Origin: a form or script of another site may send a request without reading the answer.

Programs that are no browser send neither a foreign Host nor an Origin.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lexiseg_service.errors import CrossSite, ServiceError, UnknownHost
from lexiseg_service.gateway.rest import problem
from lexiseg_service.settings import Settings

LOCALHOST = "localhost"
EVERY = "*"
READING = frozenset({"GET", "HEAD", "OPTIONS"})  # change nothing, and CORS decides who may read the answers
MAX_SHOWN_NAME = 80


class WebPages:
    """Refuses names that are not this service's, and writes that the pages of other sites send.

    Names are those of localhost, a name that the service listens on, and `allowed_hosts`. On other addresses than
    loopback every IP address passes, too: probes send it, and no page can rebind one. Pages of
    `cors_origins` may write.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._on_loopback = is_loopback(settings.host)
        self._names = frozenset(name.lower().rstrip(".") for name in (settings.host, *settings.allowed_hosts))
        self._origins = frozenset(settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                self._check_names(headers.getlist("host"))
                if scope["method"] not in READING:
                    self._check_origin(headers)
            except ServiceError as error:
                await problem.refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check_names(self, hosts: list[str]) -> None:
        for host in hosts:  # none in HTTP/1.0, which no browser speaks
            if not self._is_ours(name_in(host)):
                expected = "localhost" if self._on_loopback else "localhost or an IP address"
                raise UnknownHost(
                    f"Host: expected {expected}, got {host[:MAX_SHOWN_NAME]!r}; LEXISEG_ALLOWED_HOSTS names others"
                )

    def _is_ours(self, name: str) -> bool:
        known = EVERY in self._names or name in self._names
        return known or is_loopback(name) or (not self._on_loopback and is_ip(name))

    def _check_origin(self, headers: Headers) -> None:
        """Refuse a write of another site, as Go's http.CrossOriginProtection does.

        Browsers send Sec-Fetch-Site over TLS and to localhost, else Origin alone.
        """
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if EVERY in self._origins or origin in self._origins:
            return
        if site is None:
            own = origin is None or authority_in(origin) == headers.get("host", "").lower()
        else:
            own = site in ("same-origin", "none")
        if not own:
            shown = (origin or site or "")[:MAX_SHOWN_NAME]
            raise CrossSite(f"Origin: expected a page of ours, got {shown!r}; LEXISEG_CORS_ORIGINS names others")


def name_in(host: str) -> str:
    """The name or address in a Host header, in lower case; "" if there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def authority_in(origin: str) -> str | None:
    """The host and port of an Origin header, in lower case; None if it is malformed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def is_ip(name: str) -> bool:
    """Whether it is an address and no name."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether it is `localhost`, a name under it (RFC 6761), or a loopback address."""
    return name == LOCALHOST or name.endswith(f".{LOCALHOST}") or (is_ip(name) and ip_address(name).is_loopback)
