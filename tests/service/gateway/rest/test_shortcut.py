"""POST /segment takes no way through the router: nobody outside can tell, by answers, logs or counts."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import Any, NamedTuple

import httpx
import pytest
from structlog.testing import capture_logs

from lexiseg_service.errors import NotReady, QueueFull
from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.gateway.app import create_app
from lexiseg_service.gateway.rest.routes import Shortcut
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import form

PICTURE = pictures.encoded(pictures.small())
JSON = {"content-type": "application/json"}
ASKED = {"classes": ["sky"], "image": {"base64": b64encode(PICTURE).decode()}}
WHOLE = json.dumps(ASKED).encode()
KEYS = f"{line_of('any', 'right')}\n{line_of('lists', 'lists', ['vocabularies'])}"
OF_THE_OCCASION = ("date", "x-request-id")
COUNTED = re.compile(r"^lexiseg_(?:requests|questions|request_failures)_total\{.*$", re.MULTILINE)


class Way(NamedTuple):
    """A request, and what is different about the service."""

    method: str = "POST"
    path: str = "/segment"
    sent: dict[str, Any] = {}  # noqa: RUF012  # never written to
    headers: dict[str, str] = {}  # noqa: RUF012
    failure: Exception | None = None


WAYS = {
    "a form": Way(sent={"files": form("sky")}),
    "stable": Way(path="/v1/segment", sent={"files": form("sky")}),
    "JSON": Way(sent={"content": WHOLE}, headers=JSON),
    "the file itself": Way(
        path="/segment?classes=sky", sent={"content": PICTURE}, headers={"content-type": "image/png"}
    ),
    "a percent sign": Way(path="/seg%6dent", sent={"content": WHOLE}, headers=JSON),
    "a slash at the end": Way(path="/segment/", sent={"content": WHOLE}, headers=JSON),
    "a stable slash at the end": Way(path="/v1/segment/", sent={"content": WHOLE}, headers=JSON),
    "two slashes": Way(path="//segment", sent={"content": WHOLE}, headers=JSON),
    "a picture": Way(sent={"files": form("sky")}, headers={"accept": "image/png"}),
    "gzip": Way(sent={"files": form("sky")}, headers={"accept-encoding": "gzip"}),
    "an id of its own": Way(sent={"files": form("sky")}, headers={"x-request-id": "mine"}),
    "a page of ours": Way(sent={"files": form("sky")}, headers={"origin": "https://a.example"}),
    "a page of others": Way(sent={"files": form("sky")}, headers={"origin": "https://b.example"}),
    "a page that asks first": Way(
        "OPTIONS", headers={"origin": "https://a.example", "access-control-request-method": "POST"}
    ),
    **{method: Way(method) for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "BREW")},
    "no key": Way(sent={"content": WHOLE}, headers={**JSON, "x-api-key": ""}),
    "a wrong key": Way(sent={"content": WHOLE}, headers={**JSON, "x-api-key": "wrong"}),
    "a key for something else": Way(sent={"content": WHOLE}, headers={**JSON, "x-api-key": "lists"}),
    "nothing": Way(),
    "no JSON": Way(sent={"content": b"{"}, headers=JSON),
    "no such field": Way(sent={"content": b'{"colour": 1}'}, headers=JSON),
    "half a surrogate": Way(sent={"content": WHOLE.replace(b"sky", rb"\ud800")}, headers=JSON),
    "another kind": Way(sent={"content": b"x"}, headers={"content-type": "text/plain"}),
    "no image": Way(sent={"content": b"x"}, headers={"content-type": "image/png"}),
    "no boundary": Way(sent={"content": b"x"}, headers={"content-type": "multipart/form-data"}),
    "no such model": Way(sent={"files": form("sky", model="nope")}),
    "too large": Way(sent={"content": b" " * 4_000_000}, headers=JSON),
    "busy": Way(sent={"files": form("sky")}, failure=QueueFull("full", 7)),
    "not ready": Way(sent={"files": form("sky")}, failure=NotReady("loading")),
    "a surprise": Way(sent={"files": form("sky")}, failure=ZeroDivisionError("oh")),
}


async def seen(way: Way) -> dict[str, Any]:
    """What a client, the log and the metrics say of a request."""
    metrics = Metrics()
    limits = {"max_image_bytes": 1_000_000}
    settings = Settings(model="colours", api_keys=KEYS, cors_origins=("https://a.example",), limits=limits)
    app = create_app(settings, KnownBackend(failure=way.failure), metrics)
    transport = httpx.ASGITransport(app)
    headers = {"x-api-key": "right", **way.headers}
    with capture_logs() as lines:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.request(way.method, way.path, headers=headers, **way.sent)
    identity = answer.headers.get("x-request-id", "none")  # a page that asks first is answered before there is one
    return {
        "status": answer.status_code,
        "headers": sorted((n, v) for n, v in answer.headers.items() if n not in OF_THE_OCCASION),
        "body": answer.content.replace(identity.encode(), b"ID"),
        "log": [
            {name: value for name, value in line.items() if name not in ("milliseconds", "exc_info")}
            | {"request_id": line.get("request_id") == identity}
            for line in lines
        ],
        "counts": sorted(COUNTED.findall(metrics.render().decode())),
    }


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_the_short_way_is_told_from_the_routers_by_nothing(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    short = await seen(way)

    async def past(self: Shortcut, *call: Any) -> None:
        await self._app(*call)

    monkeypatch.setattr(Shortcut, "__call__", past)

    assert short == await seen(way)
    assert short["log"] or way.method == "OPTIONS"
