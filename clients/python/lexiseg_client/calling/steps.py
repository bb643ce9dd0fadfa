"""The steps of a call and their retries; a synchronous and an asyncio driver execute them.

Calls are I/O-free generators, so both clients share retries, image ids and parsing.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast

import httpx

from lexiseg_client.errors import (
    LASTING,
    Busy,
    LexisegError,
    NoSuchHost,
    NotReady,
    ProblemError,
    ServerFault,
    Unreachable,
)

if TYPE_CHECKING:
    from lexiseg_client.aio import AsyncClient
    from lexiseg_client.client import Client

logger: logging.Logger = logging.getLogger("lexiseg_client")
P = ParamSpec("P")
T = TypeVar("T")
BAD_GATEWAY = 502  # from a proxy while its server restarts
MIN_ATTEMPT_SECONDS = 0.001  # an attempt's timeout must not be zero
WARN_AFTER = 2  # failed attempts before a warning is logged: a rolling update is over by then


@dataclass(frozen=True)
class Send:
    """Send one HTTP request; `body` has httpx's arguments for it. Result: an `httpx.Response`."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    repeatable: bool = True  # idempotent: can be sent again after it may have arrived
    timeout: float = 0.0  # seconds for each read and write


@dataclass(frozen=True)
class Invoke:
    """Call a unary gRPC method by name within `timeout` seconds. Result: the response message."""

    method: Literal["Segment", "ListModels", "Check"]
    message: Any
    repeatable: bool = True
    timeout: float = 0.0


@dataclass(frozen=True)
class Wait:
    """Sleep for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Run a blocking function, such as reading a file. Result: its return value or its exception."""

    task: Callable[[], Any]


Step: TypeAlias = Send | Invoke | Wait | Work
Call: TypeAlias = Generator[Step, Any, T]


@dataclass(frozen=True)
class Retry:
    """Retry settings; a call's timeout bounds all its attempts.

    Exponential backoff: waits double from `first_wait` to `longest_wait` seconds, each shortened by a random jitter of
    up to half, so that refused clients do not return together. Waits are never shorter than the server's `Retry-After`.
    """

    most: int = 10  # retries of one request; 0: none
    first_wait: float = 0.25
    longest_wait: float = 15.0

    def wait(self, attempt: int, retry_after: float | None, jitter: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 0); `jitter` is in 0 to 1."""
        backoff = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt, 60))
        return max(retry_after or 0.0, backoff * (1 - jitter / 2))


def with_retries(request: Send | Invoke, read: Callable[[Any], T], rule: Retry, deadline: float) -> Call[T]:
    """Repeat a request until it succeeds, fails for good, or `deadline` (clock time) passes; `read` its outcome.

    Its `timeout` is what remains.
    """
    count = 0
    while True:
        remaining = deadline - time.monotonic()
        try:
            outcome = yield replace(request, timeout=max(remaining, MIN_ATTEMPT_SECONDS))
            return read(outcome)
        except LASTING:
            raise
        except (ProblemError, Unreachable) as error:
            if count >= rule.most or not _is_retryable(error, request.repeatable):
                raise
            server_wait = error.retry_after if isinstance(error, ProblemError) else None
            pause = rule.wait(count, server_wait, random.random())
            if time.monotonic() + pause >= deadline:
                raise
            if count == WARN_AFTER and isinstance(error, Unreachable):
                logger.warning("%s; retrying for %.0f seconds at most", error, deadline - time.monotonic())
        yield Wait(pause)
        count += 1


def _is_retryable(error: LexisegError, repeatable: bool) -> bool:
    """Whether a retry could succeed and is safe: what is not `repeatable` is retried only if it was not executed."""
    if isinstance(error, Busy):
        return True
    if isinstance(error, NoSuchHost):
        return False
    if isinstance(error, Unreachable):
        return repeatable or not error.is_sent
    is_away = isinstance(error, NotReady) or (isinstance(error, ServerFault) and error.status == BAD_GATEWAY)
    return repeatable and is_away


class Run(Protocol):
    """Executes a call's steps."""

    def __call__(self, call: Call[T], /) -> T: ...


class Resource:
    """What a client offers under a name of its own, as `client.heads`."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self._client = client
        self._run: Run = cast("Run", client._run)  # with an asyncio client the result is a coroutine: see `awaited`
        self._calls = client._calls

    def _ask(self, request: Send, parse: Callable[[httpx.Response], T], timeout: float | None) -> T:
        return self._run(self._calls.rest.ask(request, parse, self._calls.deadline(timeout)))


def awaited(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A method that returns what `_run` does, for a class of the asyncio client."""

    @wraps(method)
    async def call(self: Any, /, *arguments: P.args, **options: P.kwargs) -> T:
        result: T = await cast("Any", method(self, *arguments, **options))
        return result

    return call
