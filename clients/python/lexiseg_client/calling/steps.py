"""The steps of a call, which a synchronous and an asyncio driver execute.

Calls are I/O-free generators, so both clients share retries, image ids and parsing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast

import httpx

if TYPE_CHECKING:
    from lexiseg_client.aio import AsyncClient
    from lexiseg_client.client import Client

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Send one HTTP request; `body` has httpx's arguments for it. Result: an `httpx.Response`.

    Raises, into the call:
        Unreachable, TimedOut.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    repeatable: bool = True  # idempotent: can be sent again after it may have arrived
    timeout: float = 0.0  # seconds for each read and write


@dataclass(frozen=True)
class Invoke:
    """Call a unary gRPC method by name within `timeout` seconds. Result: the response message.

    Raises, into the call:
        ProblemError, Unreachable, TimedOut.
    """

    method: Literal["Segment", "ListModels", "Check"]
    message: Any
    timeout: float


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
