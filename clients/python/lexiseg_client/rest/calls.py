"""The calls over REST."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from lexiseg_client.answers.models import Health, Model
from lexiseg_client.answers.segmentation import Segmentation
from lexiseg_client.calling.retries import Patience, exchange
from lexiseg_client.calling.steps import Call, Reply, Request, Send
from lexiseg_client.errors import UnreadableAnswer
from lexiseg_client.pictures.images import ImageId, ImageUrl, Source
from lexiseg_client.question.examples import has_files
from lexiseg_client.question.options import Background, Classes, background_json, classes_json
from lexiseg_client.question.vocabulary import Vocabulary, VocabularySummary
from lexiseg_client.rest import reading

T = TypeVar("T")
STABLE = "/v1"  # the paths that are promised


class RestWire:
    """See `wire.Wire`."""

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
        return self._ask(request, reading.segmentation, until)

    def models(self, until: float) -> Call[list[Model]]:
        """GET /models."""
        return self._ask(Request("GET", f"{STABLE}/models"), reading.models, until)

    def model(self, name: str, until: float) -> Call[Model]:
        """GET /models/NAME."""
        return self._ask(Request("GET", f"{STABLE}/models/{quote(name, safe='@')}"), reading.model, until)

    def health(self, timeout: float) -> Call[Health]:
        """GET /livez and /readyz."""
        alive = yield from self._probe("/livez", timeout)
        ready = yield from self._probe("/readyz", timeout)
        return reading.health(alive, ready)

    def _probe(self, path: str, timeout: float) -> Call[dict[str, Any]]:
        reply: Reply = yield Send(Request("GET", path), timeout)
        health = reading.read(reply.content, dict)
        if not {"status", "detail"} <= health.keys():
            raise UnreadableAnswer(f"what answered {path} with {reply.status} is no lexiseg")
        return health

    def _ask(self, request: Request, build: Callable[[dict[str, Any]], T], until: float) -> Call[T]:
        reply = yield from exchange(request, self._patience, until)
        return reading.read(reply.content, build)

    def vocabularies(self, until: float) -> Call[list[VocabularySummary]]:
        """GET /vocabularies."""
        return self._ask(Request("GET", f"{STABLE}/vocabularies"), reading.vocabulary_summaries, until)

    def vocabulary(self, name: str, until: float) -> Call[Vocabulary]:
        """GET /vocabularies/NAME."""
        reply = yield from exchange(Request("GET", _path(name)), self._patience, until)
        return _with_tag(reply)

    def refresh_vocabulary(self, known: Vocabulary, until: float) -> Call[Vocabulary]:
        """GET /vocabularies/NAME, if it is another than `known`."""
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
        # Done twice, a conditional write fails the second time although it was done.
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
    return reading.read(reply.content, lambda document: reading.vocabulary(document, etag))
