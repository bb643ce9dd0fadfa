"""Many images through a running server: patiently, at the pace that it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import sleep as wall_sleep
from types import TracebackType
from typing import Any, TypeVar

from lexiseg_client import (
    Background,
    Busy,
    Class,
    Client,
    NotOffered,
    NotReady,
    Point,
    ProblemError,
    Prompt,
    Retry,
    Unreachable,
    Vocabulary,
)
from lexiseg_model.types import ClassEntry, Task
from lexiseg_service.commands.pace import Pace
from lexiseg_service.commands.server import Server, ServerFailure, answer_of
from lexiseg_service.gateway.vocabularies.builtin import built_in
from lexiseg_service.question.classes import is_thing
from lexiseg_service.question.messages import WorkerAnswer

TIMEOUT = 120.0  # seconds; a server has a deadline of its own, well below
MOST_RETRIES = 8  # of one request
LONGEST_WAIT = 60.0  # seconds; a server that asks for more is asked again after this
SHORTEST_WAIT = 0.25  # seconds, doubled with each retry
T = TypeVar("T")


class RemoteServer:
    """Asks one server; from several threads, if `most` allows. To be closed, or used as a context manager.

    The client's own retries are off: each knows of its request alone, the pace here of all that are under way.
    """

    def __init__(self, server: Server, most: int, sleep: Callable[[float], object] = wall_sleep) -> None:
        self._server = server
        self._client = Client(server.url, api_key=server.key or "", timeout=TIMEOUT, retry=Retry(most=0))
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
        models = self._ask(self._client.models) if model is None else [self._ask(lambda: self._client.model(model))]
        able = {word for card in models for word in card.tasks}
        if task not in able:
            who = f"no model at {self._server.url} can" if model is None else f"{model} at {self._server.url} cannot"
            raise ServerFailure(f"task: {who} do {task}; there is: {', '.join(sorted(able))}")

    def classes_of(self, vocabulary: str) -> tuple[ClassEntry, ...]:
        """The names of a named vocabulary's classes, in order, with what is known here of things and stuff.

        gRPC has no call for it: there only the built-in lists are known.

        Raises:
            ServerFailure: there is none of that name.
        """
        # A server does not say it of a list; a built-in one is the same list here, unless the versions differ.
        known = built_in(vocabulary)
        things = {} if known is None else {entry.name: entry.thing for entry in known.vocabulary.classes}
        with self._server.translated():
            try:
                listed = self._patiently(lambda: self._client.vocabularies.get(vocabulary))
                names = [entry.name for entry in listed.classes]
            except NotOffered:
                if known is None:
                    raise ServerFailure(
                        f"vocabulary: {vocabulary} is not built in, and gRPC cannot tell its classes; "
                        "name the server by its http address"
                    ) from None
                names = list(things)
        return tuple(ClassEntry(name, thing=things.get(name, is_thing(name))) for name in names)

    def vocabulary(self, name: str) -> Vocabulary:
        """A named class list with its thresholds.

        Raises:
            ServerFailure: there is none of that name.
        """
        return self._ask(lambda: self._client.vocabularies.get(name))

    def keep_vocabulary(
        self, name: str, classes: Sequence[Class], background: bool | Background, source: str | None, etag: str | None
    ) -> None:
        """Writes a named class list; with an `etag` only if it is still that one.

        Raises:
            ServerFailure: it is built in, or somebody has changed it in the meantime.
        """
        kept = self._client.vocabularies
        self._ask(lambda: kept.put(name, classes, background=background, source=source, if_match=etag))

    def segment(self, image: bytes, fields: dict[str, Any]) -> WorkerAnswer:
        """One image's masks.

        Raises:
            ServerFailure: the server refused it, or did not answer.
        """
        options = dict(fields)
        if "prompts" in fields:
            options["prompts"] = [_prompt(prompt) for prompt in fields["prompts"]]
        classes = options.pop("classes", None)
        return self._ask(lambda: answer_of(self._client.segment(image, classes, **options)))

    def _ask(self, call: Callable[[], T]) -> T:
        with self._server.translated():
            return self._patiently(call)

    def _patiently(self, call: Callable[[], T]) -> T:
        """The call's result; while the server is busy, it is asked again when it wants to be asked.

        Raises:
            LexisegError: the last word.
        """
        for retry in range(MOST_RETRIES + 1):
            with self._pace.lane():
                try:
                    result = _twice(call)
                except (Busy, NotReady) as error:
                    if retry == MOST_RETRIES:
                        raise
                    self._pace.refused(_wait(error, retry))
                else:
                    self._pace.answered()
                    return result
        raise AssertionError("the last retry returns or raises")


def _twice(call: Callable[[], T]) -> T:
    try:
        return call()
    except Unreachable as error:
        if not error.sent:
            raise
        # A connection that was kept and that the server closed in the same moment; asking twice is harmless.
        return call()


def _wait(error: ProblemError, retry: int) -> float:
    """Seconds: what the server asks for, and more with each retry; both within reason."""
    server_wait = 1.0 if error.retry_after is None else error.retry_after
    return float(min(LONGEST_WAIT, max(server_wait, SHORTEST_WAIT * 2**retry)))


def _prompt(fields: dict[str, Any]) -> Prompt:
    return Prompt([Point(**point) for point in fields.get("points", ())], fields.get("box"))
