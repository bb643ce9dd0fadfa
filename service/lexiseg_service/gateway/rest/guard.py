"""Who may ask, and how much: API keys and limits before a body is read. Plain ASGI."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from lexiseg_service.errors import MalformedRequest, NotAllowed, RateLimited, Unauthorized
from lexiseg_service.gateway.admission.key_file import Keys
from lexiseg_service.gateway.admission.keys import key_of, scope_of
from lexiseg_service.gateway.admission.limits import Gate, admitted, client_of
from lexiseg_service.gateway.rest import docs_page, playground, problem

# Probes carry no key, and a browser that opens a page cannot send one; none of these holds anything of a user's.
OPEN = frozenset({"/livez", "/readyz", "/", docs_page.PAGE, *docs_page.ASSETS, *playground.FILES, "/openapi.json"})
METRICS = "/metrics"
# Headers of which some read the first and some the last.
ONCE = (b"authorization", b"x-api-key", b"content-type", b"content-encoding")
HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")  # RFC 3986, 3.2.2


def open_paths(*, metrics_need_key: bool) -> frozenset[str]:
    """Paths that ask for no key and count for no limit."""
    return OPEN if metrics_need_key else OPEN | {METRICS}


class Guard:
    """Lets known keys in, as many requests at a time and a second as they may.

    Leaves `key_id` and `client`, for whom the request counts, in the scope's state.
    """

    def __init__(self, app: ASGIApp, keys: Keys, gate: Gate | None, open_to_all: frozenset[str]) -> None:
        self._app = app
        self._keys = keys
        self._gate = gate
        self._open = open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Whole paths only: no prefix and no pattern lets anything else through.
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        headers = dict(scope["headers"])
        try:
            _refuse_doubt(scope)
            if scope["path"] in self._open:
                await self._app(scope, receive, send)
                return
            sent = key_of(_text(headers, b"authorization"), _text(headers, b"x-api-key"))
            key_id = self._keys.identify(sent, scope_of(scope["method"], scope["path"]))
            state["key_id"], state["admin"] = key_id, key_id is not None and self._keys.may(key_id, "admin")
            client = state["client"] = client_of(key_id, scope["client"][0] if scope.get("client") else None)
            with bound_contextvars(key_id=key_id):
                if self._gate is None:
                    await self._app(scope, receive, send)
                    return
                async with admitted(self._gate, client):
                    await self._app(scope, receive, send)
        except (
            MalformedRequest,
            Unauthorized,
            NotAllowed,
            RateLimited,
        ) as error:  # ours alone: a route's errors are answered inside
            await problem.response(error, state.get("request_id"))(scope, receive, send)


def _refuse_doubt(scope: Scope) -> None:
    """Where two servers in a row might read a request differently.

    Raises:
        MalformedRequest: no host, several, or none that can be one, as HTTP/1.1 forbids (RFC 9112, 3.2); a body that is
            coded otherwise than in chunks; several keys, or several kinds of content.
    """
    names = [name for name, _ in scope["headers"]]
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):
        raise MalformedRequest(f"{len(hosts)} headers `Host`; expected one")
    if hosts and HOST.fullmatch(hosts[0]) is None:
        raise MalformedRequest("the header `Host` is no HOST or HOST:PORT")
    if any(value.lower() != b"chunked" for name, value in scope["headers"] if name == b"transfer-encoding"):
        raise MalformedRequest("the header `Transfer-Encoding` is something else than chunked")
    for name in ONCE:
        if (n := names.count(name)) > 1:
            raise MalformedRequest(f"{n} headers `{name.decode()}`; expected one at most")


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
