"""A lexiseg server that a command asks through the Python client."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from lexiseg_client import (
    Client,
    Frame,
    FrameAnswer,
    Head,
    LexisegError,
    NoServer,
    NotOffered,
    Picture,
    Point,
    ProblemError,
    Prompt,
    Retry,
    Segmentation,
    Unauthorized,
    UnreadableAnswer,
    Vocabulary,
)
from lexiseg_client.address import PRINTABLE, read_address
from lexiseg_client.folders import resolve_names
from lexiseg_model.types import ClassEntry, Task
from lexiseg_model.vocabulary.class_names import is_thing
from lexiseg_service.errors import InvalidValue, ServiceError, error_of
from lexiseg_service.gateway.vocabularies.named import built_in
from lexiseg_service.question.schemas import TaskQuestion
from lexiseg_service.settings import Settings

TIMEOUT = 120.0  # seconds for one image with all its retries
CONNECT_SECONDS = 10.0  # before a stream
SECONDS_PER_PICTURE = 10.0  # of a head, sent in several requests
RETRY_IMAGES = Retry(most=50, longest_wait=60.0)  # a busy server is retried until the timeout
RETRY_CHECKS = Retry(most=1)  # before the first image, so that an unreachable server is an error at once


class ServerFailure(ServiceError):
    """The server refused, did not answer, or is not lexiseg."""


@contextmanager
def translate_errors(url: str) -> Iterator[None]:
    try:
        yield
    except Unauthorized as error:
        reason = f"the server needs an API key: LEXISEG_API_KEY or --api-key ({error.problem.detail})"
        raise ServerFailure(reason) from None
    except ProblemError as error:
        raise error_of(error.problem.type, error.problem.detail) from None
    except NoServer as error:
        raise ServerFailure(f"{error}; is it running?") from None
    except NotOffered:
        raise _not_over_grpc(url) from None
    except UnreadableAnswer:
        raise ServerFailure(f"expected a lexiseg server at {url}, got answers of another program") from None
    except LexisegError as error:
        raise ServerFailure(str(error)) from None


def _not_over_grpc(url: str) -> ServerFailure:
    return ServerFailure(f"gRPC has no vocabularies and heads: name the server by its http address, not {url}")


def check_rest(url: str) -> None:
    """Check that a server is asked over REST. Raises ServerFailure: over gRPC. InvalidValue: it is no address."""
    try:
        protocol = read_address(url, None, None).protocol
    except ValueError as error:
        raise InvalidValue(f"--server: {error}") from None
    if protocol == "grpc":
        raise _not_over_grpc(url)


class Server(AbstractContextManager["Server"]):
    """One server, as a context manager; thread-safe."""

    def __init__(
        self,
        url: str,
        settings: Settings,
        *,
        model: str | None = None,
        name: str | None = None,
        timeout: float = TIMEOUT,
        **connections: Any,
    ) -> None:
        key = "" if settings.api_key is None else settings.api_key.get_secret_value()
        if key and not PRINTABLE.fullmatch(key):
            raise InvalidValue.of("--api-key / LEXISEG_API_KEY", "***", "printable characters without blanks")
        self.url, self._model = url.rstrip("/"), model
        self.name = name or f"{url} {model or ''}".strip()
        try:
            self._client = Client(self.url, api_key=key, timeout=timeout, retry=RETRY_IMAGES, **connections)
            self._checks = Client(self.url, api_key=key, timeout=timeout, retry=RETRY_CHECKS, **connections)
        except ValueError as error:
            raise InvalidValue(f"--server: {error}") from None

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._checks.close()

    def check(self, task: Task) -> None:
        """Check the server, the key, the model and its tasks, before any file is sent.

        Without a model the server's default answers: then some model of it must be able to do the task.
        """
        model = self._model
        with translate_errors(self.url):
            models = self._checks.models() if model is None else [self._checks.model(model)]
        able = {word for card in models for word in card.tasks}
        if task not in able:
            who = f"no model at {self.url} can" if model is None else f"{model} at {self.url} cannot"
            raise ServerFailure(f"task: {who} do {task}; there is: {', '.join(sorted(able))}")

    def resolve_names(
        self, question: TaskQuestion, own: Sequence[ClassEntry]
    ) -> tuple[tuple[ClassEntry, ...], dict[str, Any]]:
        """The classes of a question's answers, in order, and its fields with what it names as it is now.

        gRPC has no call for names: there only the built-in lists are known, which never change.
        """
        stored = None if question.vocabulary is None else built_in(question.vocabulary)
        before = own if stored is None else stored.vocabulary.classes
        entries = {entry.name: entry for entry in before}
        built_in_name = {} if stored is None else {"vocabulary": stored.name}
        with translate_errors(self.url):
            fields = {name: value for name, value in question.fields.items() if name not in built_in_name}
            labels, fields = resolve_names(self._checks, list(entries), fields)
        classes = (entries.get(label) or ClassEntry(label, thing=is_thing(label)) for label in labels)
        return tuple(classes), fields | built_in_name

    def vocabulary(self, name: str) -> Vocabulary:
        with translate_errors(self.url):
            return self._checks.vocabularies.get(name)

    def keep_vocabulary(self, name: str, classes: Sequence[Any], base: Vocabulary) -> None:
        """Write a named class list with the background and source of a kept one, if that has not changed since."""
        etag = base.etag if name == base.name else None
        with translate_errors(self.url):
            self._checks.vocabularies.put(name, classes, background=base.background, source=base.source, if_match=etag)

    def teach(self, name: str, classes: Sequence[str], pictures: Sequence[Picture]) -> Head:
        """Add classes and reviewed pictures to a head, which is created if need be."""
        with translate_errors(self.url):
            seconds = max(TIMEOUT, SECONDS_PER_PICTURE * len(pictures))
            return self._client.heads.put(name, pictures, classes=classes, timeout=seconds)

    def heads(self) -> list[Head]:
        with translate_errors(self.url):
            return self._checks.heads.list()

    def delete_head(self, name: str) -> None:
        with translate_errors(self.url):
            self._checks.heads.delete(name)

    def segment(self, image: bytes, fields: dict[str, Any]) -> Segmentation:
        prompts = client_prompts(fields.get("prompts", ())) or None
        with translate_errors(self.url):
            return self._client.segment(image, **fields | {"prompts": prompts, "model": self._model})

    def stream(self, frames: Iterator[Frame], fields: dict[str, Any]) -> Generator[FrameAnswer, None, None]:
        """One answer for each frame, in order, until the frames end or the answers are closed."""
        with translate_errors(self.url):
            yield from self._client.stream(frames, **fields, model=self._model, timeout=CONNECT_SECONDS)


def client_prompts(prompts: Iterable[dict[str, Any]]) -> list[Prompt]:
    """Prompts in the form of `POST /segment`, as the client takes them."""
    return [Prompt([Point(**point) for point in prompt.get("points", ())], prompt.get("box")) for prompt in prompts]
