"""Methods that both clients have, written once: with a synchronous client, and awaited with an asyncio one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import httpx

from lexiseg_client.calling.steps import Call, Send

if TYPE_CHECKING:
    from lexiseg_client.aio import AsyncClient
    from lexiseg_client.client import Client

P = ParamSpec("P")
T = TypeVar("T")


class Run(Protocol):
    """Executes a call's steps."""

    def __call__(self, call: Call[T], /) -> T: ...


class Resource:
    """What a client offers under a name of its own, as `client.heads`."""

    def __init__(self, client: Client | AsyncClient) -> None:
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
