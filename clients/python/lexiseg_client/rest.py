"""The calls over REST, and their requests as httpx sends them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from lexiseg_client.address import USER_AGENT, Address
from lexiseg_client.calling.retries import Patience, exchange
from lexiseg_client.calling.steps import Call, Reply, Request, Send
from lexiseg_client.errors import NotOffered, TimedOut, Unreachable, UnreadableAnswer
from lexiseg_client.images import ImageId, ImageUrl, Source
from lexiseg_client.models import Health, Model, model_of
from lexiseg_client.question.options import Background, Classes, background_json, classes_json
from lexiseg_client.question.prompts import has_files
from lexiseg_client.question.vocabulary import Vocabulary, VocabularySummary, summary_of, vocabulary_of
from lexiseg_client.segmentation import Segmentation

CONNECT = 10.0  # seconds that one attempt to connect may take
T = TypeVar("T")
STABLE = "/v1"  # the paths that are promised


class RestWire:
    """The protocol of http and https addresses; see `calling.calls.Wire`."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def segment(self, source: Source, question: Mapping[str, Any], until: float) -> Call[Segmentation]:
        """POST /segment."""
        if isinstance(source, (ImageId, ImageUrl)):
            named = {"id": source.id} if isinstance(source, ImageId) else {"url": source.url}
            request = Request("POST", f"{STABLE}/segment", json={"image": named, **question})
        elif has_files(question):
            image = {"base64": base64.b64encode(source.content).decode()}
            request = Request("POST", f"{STABLE}/segment", json={"image": image, **question})
        else:
            request = Request("POST", f"{STABLE}/segment", image=source.content, fields=json.dumps(question))
        return self._ask(request, Segmentation.from_dict, until)

    def models(self, until: float) -> Call[list[Model]]:
        """GET /models."""
        return self._ask(Request("GET", f"{STABLE}/models"), _models, until)

    def model(self, name: str, until: float) -> Call[Model]:
        """GET /models/NAME."""
        return self._ask(Request("GET", f"{STABLE}/models/{quote(name, safe='@')}"), model_of, until)

    def health(self, timeout: float) -> Call[Health]:
        """GET /livez and /readyz."""
        alive = yield from self._probe("/livez", timeout)
        ready = yield from self._probe("/readyz", timeout)
        return Health(
            alive=alive["status"] == "alive",
            ready=ready["status"] == "ready",
            detail=str(ready["detail"]),
            degraded=tuple(ready.get("degraded", ())),
        )

    def _probe(self, path: str, timeout: float) -> Call[dict[str, Any]]:
        reply: Reply = yield Send(Request("GET", path), timeout)
        health = read(reply.content, dict)
        if not {"status", "detail"} <= health.keys():
            raise UnreadableAnswer(f"what answered {path} with {reply.status} is not lexiseg")
        return health

    def _ask(self, request: Request, build: Callable[[dict[str, Any]], T], until: float) -> Call[T]:
        reply = yield from exchange(request, self._patience, until)
        return read(reply.content, build)

    def vocabularies(self, until: float) -> Call[list[VocabularySummary]]:
        """GET /vocabularies."""
        return self._ask(Request("GET", f"{STABLE}/vocabularies"), _summaries, until)

    def vocabulary(self, name: str, until: float) -> Call[Vocabulary]:
        """GET /vocabularies/NAME."""
        reply = yield from exchange(Request("GET", _path(name)), self._patience, until)
        return _with_tag(reply)

    def refresh_vocabulary(self, known: Vocabulary, until: float) -> Call[Vocabulary]:
        """GET /vocabularies/NAME, unless it is still `known`."""
        request = Request("GET", _path(known.name), {"If-None-Match": known.etag})
        reply = yield from exchange(request, self._patience, until)
        return known if reply.status == 304 else _with_tag(reply)

    def put_vocabulary(
        self,
        name: str,
        classes: Classes,
        *,
        background: bool | Background,
        source: str | None,
        shared: bool | None,
        if_match: str | None,
        create_only: bool,
        until: float,
    ) -> Call[Vocabulary]:
        """PUT /vocabularies/NAME."""
        content: dict[str, Any] = {
            "classes": classes_json(classes),
            "background": background_json(background),
            "source": source,
        }
        if shared is not None:
            content["shared"] = shared
        conditions = {"If-Match": if_match} if if_match is not None else {}
        if create_only:
            conditions["If-None-Match"] = "*"
        # Repeated, a conditional write fails the second time although it was done.
        request = Request("PUT", _path(name), conditions, json=content, repeatable=not conditions)
        reply = yield from exchange(request, self._patience, until)
        return _with_tag(reply)

    def delete_vocabulary(self, name: str, if_match: str | None, until: float) -> Call[None]:
        """DELETE /vocabularies/NAME."""
        conditions = {} if if_match is None else {"If-Match": if_match}
        yield from exchange(Request("DELETE", _path(name), conditions, repeatable=False), self._patience, until)


def _path(name: str) -> str:
    return f"{STABLE}/vocabularies/{quote(name, safe='')}"


def _with_tag(reply: Reply) -> Vocabulary:
    etag = reply.headers.get("etag", "")
    return read(reply.content, lambda document: vocabulary_of(document, etag))


def read(content: bytes, build: Callable[[dict[str, Any]], T]) -> T:
    """A JSON object as `build` makes it.

    Raises:
        UnreadableAnswer: it is not JSON, not an object, or lacks a member.
    """
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise TypeError(f"expected a JSON object, got {type(document).__name__}")
        return build(document)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UnreadableAnswer(f"what answered is not lexiseg, or another version: {error!r:.200}") from None


def _models(document: dict[str, Any]) -> list[Model]:
    return [model_of(entry) for entry in document["models"]]


def _summaries(document: dict[str, Any]) -> list[VocabularySummary]:
    return [summary_of(entry) for entry in document["vocabularies"]]


def arguments(address: Address, step: Send) -> dict[str, Any]:
    """A step as the arguments of httpx's `request`.

    Raises:
        NotOffered: the address is one of gRPC.
    """
    if address.protocol == "grpc":
        raise NotOffered("vocabularies are kept over REST only: take a client of the http address for them")
    request = step.request
    keywords: dict[str, Any] = {
        "method": request.method,
        "url": address.url + request.path,
        "headers": {"User-Agent": USER_AGENT, **address.headers, **request.headers},
        "timeout": httpx.Timeout(step.timeout, connect=min(CONNECT, step.timeout)),
    }
    if request.image is not None:
        keywords |= {"files": {"image": ("image", request.image)}, "data": {"request": request.fields}}
    elif request.json is not None:
        keywords["json"] = request.json
    return keywords


def reply_of(response: httpx.Response) -> Reply:
    """An answer of httpx as a `Reply`."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.content)


@contextmanager
def translated(base: str) -> Iterator[None]:
    """Raise httpx's errors as those of this package."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Unreachable(f"no server answers at {base} ({str(error) or type(error).__name__})", sent=False) from error
    except httpx.TimeoutException as error:
        raise TimedOut(f"{base} did not answer in time") from error
    except httpx.DecodingError as error:
        raise UnreadableAnswer(f"what {base} sent cannot be unpacked: {error}") from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        # h11's message for an answer that is not HTTP
        hint = ": what answers speaks no HTTP, as the port of gRPC does" if reason == "illegal request line" else ""
        broke = f"the connection to {base} broke ({reason}{hint})"
        raise Unreachable(broke, sent=True) from error
