"""A running lexiseg server, asked through the client. No model and no torch here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from lexiseg_client import (
    Client,
    LexisegError,
    NotOffered,
    Point,
    ProblemError,
    Prompt,
    Retry,
    Segmentation,
    Unauthorized,
    Unreachable,
    UnreadableAnswer,
    Vocabulary,
)
from lexiseg_client.address import PRINTABLE, read_address
from lexiseg_model.types import ClassEntry, Task
from lexiseg_service.errors import InvalidValue, ServiceError
from lexiseg_service.gateway.vocabularies.named import built_in
from lexiseg_service.question.classes import is_thing
from lexiseg_service.settings import Settings

TIMEOUT = 120.0  # seconds of one image with all its retries
PATIENT = Retry(most=50, longest_wait=60.0)  # of images: a busy server is asked again for as long as the timeout
IMPATIENT = Retry(most=1)  # of the questions before the first image: a server that is away is an error at once


class ServerFailure(ServiceError):
    """The server refused, did not answer, or is not lexiseg."""


def key_for(url: str, settings: Settings) -> str:
    """The API key for a server at a URL or a HOST:PORT of gRPC, once both are checked; "" is none.

    Raises:
        InvalidValue: the address or the key is not one.
    """
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    if key is not None and not PRINTABLE.fullmatch(key):
        raise InvalidValue.of("--api-key / LEXISEG_API_KEY", "***", "printable characters without blanks")
    try:
        read_address(url, None, key)
    except ValueError as error:
        raise InvalidValue(f"--server: {error}") from None
    return key or ""


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise the client's errors as ServerFailure."""
    try:
        yield
    except Unauthorized as error:
        reason = f"the server needs an API key: LEXISEG_API_KEY or --api-key ({error.problem.detail})"
        raise ServerFailure(reason) from None
    except ProblemError as error:
        raise ServerFailure(error.problem.detail) from None
    except Unreachable as error:
        question = "; is it running?" if str(error).startswith("no server answers") else ""
        raise ServerFailure(f"{error}{question}") from None
    except NotOffered:
        raise ServerFailure(f"gRPC has no vocabularies: name the server by its http address, not {url}") from None
    except UnreadableAnswer:
        raise ServerFailure(f"what answers at {url} is not a lexiseg server") from None
    except LexisegError as error:
        raise ServerFailure(str(error)) from None


class Server:
    """One server, for many threads. To be closed, or used as a context manager.

    Raises:
        InvalidValue: the address or the key is not one.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        key, self.url = key_for(url, settings), url.rstrip("/")
        self._client = Client(self.url, api_key=key, timeout=TIMEOUT, retry=PATIENT)
        self._first = Client(self.url, api_key=key, timeout=TIMEOUT, retry=IMPATIENT)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()
        self._first.close()

    def check(self, model: str | None, task: Task) -> None:
        """Check the server, the key, the model and its tasks, before any file is sent.

        Without a model the server's default answers: then some model of it must be able to do the task.

        Raises:
            ServerFailure: the server cannot be asked, or there is no such model or task.
        """
        with translated(self.url):
            models = self._first.models() if model is None else [self._first.model(model)]
        able = {word for card in models for word in card.tasks}
        if task not in able:
            who = f"no model at {self.url} can" if model is None else f"{model} at {self.url} cannot"
            raise ServerFailure(f"task: {who} do {task}; there is: {', '.join(sorted(able))}")

    def classes_of(self, vocabulary: str) -> tuple[ClassEntry, ...]:
        """The classes of a named vocabulary, in order; things and stuff are those of the built-in list of that name.

        gRPC has no call for it: there only the built-in lists are known.

        Raises:
            ServerFailure: there is none of that name.
        """
        known = built_in(vocabulary)
        things = {} if known is None else {entry.name: entry.thing for entry in known.vocabulary.classes}
        is_known = known is not None and read_address(self.url, None, None).protocol == "grpc"
        names = list(things) if is_known else [entry.name for entry in self.vocabulary(vocabulary).classes]
        return tuple(ClassEntry(name, thing=things.get(name, is_thing(name))) for name in names)

    def vocabulary(self, name: str) -> Vocabulary:
        """A named class list with its thresholds.

        Raises:
            ServerFailure: there is none of that name, or the server is asked over gRPC.
        """
        with translated(self.url):
            return self._first.vocabularies.get(name)

    def keep_vocabulary(self, name: str, classes: Sequence[Any], base: Vocabulary) -> None:
        """Write a named class list with the background and source of a kept one, if that has not changed since.

        Raises:
            ServerFailure: it is built in, or has changed in the meantime.
        """
        etag = base.etag if name == base.name else None
        with translated(self.url):
            self._first.vocabularies.put(name, classes, background=base.background, source=base.source, if_match=etag)

    def segment(self, image: bytes, fields: dict[str, Any]) -> Segmentation:
        """One image's masks; `fields` are those of `POST /segment`.

        Raises:
            ServerFailure: the server refused it, or did not answer.
        """
        prompts = [
            Prompt([Point(**point) for point in prompt.get("points", ())], prompt.get("box"))
            for prompt in fields.get("prompts", ())
        ]
        with translated(self.url):
            return self._client.segment(image, **fields | {"prompts": prompts or None})
