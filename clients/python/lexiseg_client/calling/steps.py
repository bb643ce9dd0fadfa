"""The steps of a call. Calls are generators without I/O: one driver for threads and one for asyncio carry out their
steps, so both clients follow the same rules (retries, image ids, parsing)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One HTTP request. `json` and `image` with `fields` (multipart) exclude each other."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    image: bytes | None = field(default=None, repr=False)
    fields: str | None = None  # JSON text beside the image
    repeatable: bool = True  # whether a request that may have arrived can be sent again


@dataclass(frozen=True)
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Send:
    """To send a request and wait at most `timeout` seconds for each part of the exchange. Gives a Reply.

    Raises, into the call:
        Unreachable, TimedOut.
    """

    request: Request
    timeout: float


@dataclass(frozen=True)
class Invoke:
    """To call a unary gRPC method, by its name, within `timeout` seconds. Gives the answer's message.

    Raises, into the call:
        ProblemError, Unreachable, TimedOut.
    """

    method: Literal["Segment", "ListModels", "Check"]
    message: Any
    timeout: float


@dataclass(frozen=True)
class Wait:
    """To wait for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """To read or compute something that may take a while; gives its result, or its error."""

    task: Callable[[], Any]


Step: TypeAlias = Send | Invoke | Wait | Work
Call: TypeAlias = Generator[Step, Any, T]
