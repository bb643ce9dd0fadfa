"""The steps of a call, which a synchronous and an asyncio driver execute.

Calls are I/O-free generators, so both clients share retries, image ids and parsing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

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
