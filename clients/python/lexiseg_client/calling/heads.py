"""Every call about heads as steps, for `Client.heads` and `AsyncClient.heads`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from lexiseg_client.address import PREFIX
from lexiseg_client.calling.calls import Calls
from lexiseg_client.calling.retries import exchange
from lexiseg_client.calling.steps import Call, Send, Work
from lexiseg_client.question.options import Classes
from lexiseg_client.question.reviewed import Head, Picture, head_of, picture_json, taught_json
from lexiseg_client.rest import read

ROUTE = f"{PREFIX}/heads"
MAX_REQUEST_BYTES = 12 * 2**20  # of pictures in one request; a server takes somewhat more
MAX_REQUEST_PICTURES = 50  # in one request, which must be answered before the server's deadline
BYTES = {"Content-Type": "application/octet-stream"}


def create(
    calls: Calls,
    name: str,
    classes: Classes,
    pictures: Sequence[Picture],
    model: str | None,
    keep_days: float | None,
    timeout: float | None,
) -> Call[Head]:
    """See `Heads.create`."""
    body = {"name": name, "classes": taught_json(classes), **_given(model=model, keep_days=keep_days)}
    return (yield from _send(calls, "POST", ROUTE, name, body, pictures, timeout))


def put(
    calls: Calls,
    name: str,
    pictures: Sequence[Picture],
    classes: Classes | None,
    remove: Sequence[str],
    keep_days: float | None,
    timeout: float | None,
) -> Call[Head]:
    """See `Heads.put`."""
    given = _given(classes=None if classes is None else taught_json(classes), keep_days=keep_days)
    return (yield from _send(calls, "PUT", _path(name), name, {**given, "remove": list(remove)}, pictures, timeout))


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _send(
    calls: Calls,
    method: str,
    path: str,
    name: str,
    body: dict[str, Any],
    pictures: Sequence[Picture],
    timeout: float | None,
) -> Call[Head]:
    """Send a change, with further requests for the pictures that do not fit into the first."""
    deadline = calls.deadline(timeout)
    bodies = yield Work(lambda: [*_bodies(body, pictures)])
    content = b""
    for number, each in enumerate(bodies):
        request = Send(method, path, body={"json": each}, repeatable=method == "PUT")
        if number:
            request = Send("PUT", _path(name), body={"json": each})
        content = (yield from exchange(request, calls.rest.policy, deadline)).content
    return read(content, head_of)


def _bodies(first: dict[str, Any], pictures: Sequence[Picture]) -> Iterator[dict[str, Any]]:
    """JSON bodies that hold all pictures, each of bounded size; `first` joins the first of them."""
    some: list[dict[str, Any]] = []
    body, n_bytes = first, 0
    for number, picture in enumerate(pictures):
        document = picture_json(picture, f"pictures.{number}")
        size = len(json.dumps(document))
        if some and (n_bytes + size > MAX_REQUEST_BYTES or len(some) == MAX_REQUEST_PICTURES):
            yield {**body, "pictures": some}
            body, some, n_bytes = {}, [], 0
        some.append(document)
        n_bytes += size
    yield {**body, "pictures": some}


def get(calls: Calls, name: str, timeout: float | None) -> Call[Head]:
    """See `Heads.get`."""
    reply = yield from exchange(Send("GET", _path(name)), calls.rest.policy, calls.deadline(timeout))
    return read(reply.content, head_of)


def list_all(calls: Calls, timeout: float | None) -> Call[list[Head]]:
    """See `Heads.list`."""
    reply = yield from exchange(Send("GET", ROUTE), calls.rest.policy, calls.deadline(timeout))
    return read(reply.content, lambda page: [head_of(entry) for entry in page["heads"]])


def delete(calls: Calls, name: str, timeout: float | None) -> Call[None]:
    """See `Heads.delete`."""
    request = Send("DELETE", _path(name), repeatable=False)
    yield from exchange(request, calls.rest.policy, calls.deadline(timeout))


def export(calls: Calls, name: str, timeout: float | None) -> Call[bytes]:
    """See `Heads.export`."""
    request = Send("GET", f"{_path(name)}?export=1")
    reply = yield from exchange(request, calls.rest.policy, calls.deadline(timeout))
    return bytes(reply.content)


def restore(calls: Calls, name: str, content: bytes, timeout: float | None) -> Call[Head]:
    """See `Heads.restore`."""
    request = Send("PUT", _path(name), BYTES, {"content": content})
    reply = yield from exchange(request, calls.rest.policy, calls.deadline(timeout))
    return read(reply.content, head_of)


def _path(name: str) -> str:
    return f"{ROUTE}/{quote(name, safe='')}"
