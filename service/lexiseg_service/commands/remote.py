"""A running lexiseg server as the command line asks it: over HTTP, patiently, and without loading a model here."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from time import sleep as wall_sleep
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from lexiseg_model.types import ClassEntry, Rle, Segment, Task
from lexiseg_service.commands.pace import Pace
from lexiseg_service.errors import InvalidValue, ServiceError
from lexiseg_service.question.schemas import MaskOutput, Problem, SegmentAnswer, SegmentOutput
from lexiseg_service.question.stuff import is_thing
from lexiseg_service.vocabularies.builtin import built_in
from lexiseg_service.vocabularies.schemas import VocabularyOutput

TIMEOUT = httpx.Timeout(120.0, connect=10.0)  # a server has a deadline of its own, well below
BUSY = (429, 503)
MOST_RETRIES = 8  # of one request
LONGEST_WAIT = 60.0  # seconds; a server that asks for more is asked again after this
SHORTEST_WAIT = 0.25  # seconds, doubled with each retry
PRINTABLE = re.compile(r"[!-~]+")


class ServerFailure(ServiceError):
    """What a server said instead of the answer, or that it said nothing."""


@dataclass(frozen=True)
class RemoteAnswer:
    """A server's answer, as far as it is written to files."""

    size: tuple[int, int]
    segments: tuple[Segment, ...]
    overlay: bytes = field(repr=False)


class Card(BaseModel):
    """Of a model's card, what is looked at before it is asked."""

    tasks: list[str]


class Cards(BaseModel):
    """Those of all models."""

    models: list[Card]


class RemoteServer:
    """Asks one server; from several threads, if `most` allows. To be closed, or used as a context manager.

    Raises:
        InvalidValue: the address or the key cannot be one.
    """

    def __init__(self, url: str, api_key: str | None, most: int, sleep: Callable[[float], object] = wall_sleep) -> None:
        self.url = _checked(url)
        if api_key is not None and not PRINTABLE.fullmatch(api_key):
            raise InvalidValue.of("--api-key / LEXISEG_API_KEY", "***", "printable characters without blanks")
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT)
        self._pace = Pace(most, sleep)

    def __enter__(self) -> RemoteServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def check(self, model: str | None, task: Task) -> None:
        """Makes sure of the server, of our key, of the model and that it can do the task, before any file is sent.

        Without a model the server's own default answers: then any model of the server's may be the one that can.

        Raises:
            ServerFailure: something is amiss.
        """
        response = self._send("GET", "/models" if model is None else f"/models/{quote(model, safe='@')}")
        try:
            found = (Cards if model is None else Card).model_validate_json(response.content)
        except ValidationError:
            raise ServerFailure(f"what answers at {self.url} is no lexiseg server") from None
        able = {task for card in (found.models if isinstance(found, Cards) else [found]) for task in card.tasks}
        if task not in able:
            who = f"no model at {self.url} can" if model is None else f"{model} at {self.url} cannot"
            raise ServerFailure(f"task: {who} do {task}; there is: {', '.join(sorted(able))}")

    def classes_of(self, vocabulary: str) -> tuple[ClassEntry, ...]:
        """The names of a named vocabulary's classes, in order, with what is known here of things and stuff.

        Raises:
            ServerFailure: there is none of that name.
        """
        response = self._send("GET", f"/vocabularies/{quote(vocabulary, safe='')}")
        try:
            sent = VocabularyOutput.model_validate_json(response.content)
        except ValidationError:
            raise ServerFailure(f"the vocabulary that {self.url} sent cannot be read") from None
        # A server does not say it of a list; a built-in one is the same list here, unless the versions differ.
        known = built_in(vocabulary)
        things = {} if known is None else {entry.name: entry.thing for entry in known.vocabulary.classes}
        return tuple(
            ClassEntry(entry.name, thing=things.get(entry.name, is_thing(entry.name))) for entry in sent.classes
        )

    def segment(self, image: bytes, fields: dict[str, Any]) -> RemoteAnswer:
        """One file's masks.

        Raises:
            ServerFailure: the server refused it, or did not answer.
        """
        parts = {"data": {"request": json.dumps({**fields, "overlay": True})}, "files": {"image": ("image", image)}}
        response = self._send("POST", "/segment", **parts)
        try:
            answer = SegmentAnswer.model_validate_json(response.content)
            overlay = base64.b64decode(answer.overlay or "", validate=True)
            return RemoteAnswer(answer.size, tuple(map(_segment, answer.segments)), overlay)
        except ValueError:
            raise ServerFailure(f"the answer that {self.url} sent cannot be read") from None

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """The server's answer of success; while it is busy, asks again when it wants to be asked."""
        for retry in range(MOST_RETRIES + 1):
            with self._pace.lane():
                response = self._once(method, path, **parts)
                if response.is_success:
                    self._pace.answered()
                    return response
                if response.status_code not in BUSY:
                    break
                self._pace.refused(_wait(response, retry))
        raise self._failure(response)

    def _once(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            try:
                return self._client.request(method, path, **parts)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # A connection that was kept and that the server closed in the same moment; asking twice is harmless.
                return self._client.request(method, path, **parts)
        except httpx.TimeoutException:
            raise ServerFailure(f"{self.url} did not answer in time") from None
        except httpx.TransportError as error:
            raise ServerFailure(f"no server answers at {self.url} ({error}); is it running?") from None

    def _failure(self, response: httpx.Response) -> ServerFailure:
        try:
            detail = Problem.model_validate_json(response.content).detail
        except ValidationError:
            detail = f"{self.url}{response.request.url.path} answered {response.status_code} {response.reason_phrase}"
        if response.status_code == 401:
            detail = f"the server lets only its API keys in; give one by LEXISEG_API_KEY or --api-key ({detail})"
        return ServerFailure(detail)


def _checked(given: str) -> str:
    expected = "an address like http://localhost:8000"
    try:
        url = httpx.URL(given)
    except (httpx.InvalidURL, ValueError):
        raise InvalidValue.of("--server", given, expected) from None
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise InvalidValue.of("--server", given, expected)
    if url.userinfo:
        raise InvalidValue.of("--server", "a user name or a password", f"{expected}; a key goes into LEXISEG_API_KEY")
    return str(url).rstrip("/")


def _wait(response: httpx.Response, retry: int) -> float:
    """Seconds: what the server asks for, and more with each retry; both within reason."""
    header = response.headers.get("retry-after", "")
    # The other form of the header, a date, takes the default.
    asked = float(header) if header.isdecimal() else 1.0
    return float(min(LONGEST_WAIT, max(asked, SHORTEST_WAIT * 2**retry)))


def _segment(found: SegmentOutput) -> Segment:
    if not isinstance(found.mask, MaskOutput):
        raise ValueError("expected a COCO mask")
    return Segment(
        found.id,
        found.label,
        found.class_index,
        found.score,
        Rle(found.mask.size, found.mask.counts, found.area, found.bbox),
        found.is_thing,
        found.prompt_index,
        found.mask_index,
        found.quality,
    )
