"""When to retry a call, and when to give up."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

from lexiseg_client.calling.steps import Call, Reply, Request, Send, Step, Wait
from lexiseg_client.errors import (
    Busy,
    FieldError,
    LexisegError,
    NotReady,
    Problem,
    ProblemError,
    ServerFault,
    Unreachable,
    error_of,
)

logger = logging.getLogger("lexiseg_client")
T = TypeVar("T")
BAD_GATEWAY = 502  # a proxy whose server is just being replaced
MIN_ATTEMPT_SECONDS = 0.001  # what is left of a call is never zero
WARN_AT = 2  # failed tries before a warning is logged: a server that is replaced is back by then


@dataclass(frozen=True)
class Retry:
    """How patient a client is; whatever it says, a call ends with its timeout.

    Waits grow by two from `first_wait` to `longest_wait` seconds, each shortened at random by up to a half, so that
    clients refused together do not come back together. A `Retry-After` of the server's is never undercut.
    """

    most: int = 10  # times that a request is sent again; 0: never
    first_wait: float = 0.25
    longest_wait: float = 15.0

    def wait(self, attempt: int, asked: float | None, chance: float) -> float:
        """Seconds before the attempt after number `attempt` (from 0); `chance` is in 0 to 1."""
        grown = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt, 60))
        return max(asked or 0.0, grown * (1 - chance / 2))


@dataclass(frozen=True)
class Patience:
    """A client's retry rule, with the clock and random numbers that tests replace."""

    rule: Retry = field(default_factory=Retry)
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


def patiently(
    attempt: Callable[[float], Step], read: Callable[[Any], T], patience: Patience, until: float, *, repeatable: bool
) -> Call[T]:
    """Repeat a step until it succeeds, or the time `until` is over.

    Args:
        attempt: the step, given the seconds that are left.
        read: what its outcome means; may raise, too.
        repeatable: whether a step that may have been taken can be taken again.

    Raises:
        ProblemError: the server's last word.
        Unreachable, TimedOut: it had none.
    """
    count = 0
    while True:
        left = until - patience.clock()
        try:
            outcome = yield attempt(max(left, MIN_ATTEMPT_SECONDS))
            return read(outcome)
        except (ProblemError, Unreachable) as error:
            if count >= patience.rule.most or not may_go_again(error, repeatable=repeatable):
                raise
            server_wait = error.retry_after if isinstance(error, ProblemError) else None
            pause = patience.rule.wait(count, server_wait, patience.chance())
            # A wait that ends after the call's timeout is useless.
            if patience.clock() + pause >= until:
                raise
            if count == WARN_AT and isinstance(error, Unreachable):
                logger.warning("%s; asking again for %.0f seconds at most", error, until - patience.clock())
        yield Wait(pause)
        count += 1


def exchange(request: Request, patience: Patience, until: float) -> Call[Reply]:
    """Send a request until it succeeds (or gets a 304), or the time is over. Errors as of `patiently`."""
    return patiently(partial(Send, request), _accepted, patience, until, repeatable=request.repeatable)


def _accepted(reply: Reply) -> Reply:
    if reply.status < 300 or reply.status == 304:
        return reply
    raise problem_of(reply)


def may_go_again(error: LexisegError, *, repeatable: bool) -> bool:
    """Whether asking again could help, and does no harm: one that cannot be repeated only if it surely was not done."""
    if isinstance(error, Busy):
        return True
    if isinstance(error, Unreachable):
        return repeatable or not error.sent
    return repeatable and (
        isinstance(error, NotReady) or (isinstance(error, ServerFault) and error.status == BAD_GATEWAY)
    )


def problem_of(reply: Reply) -> ProblemError:
    """The error that a refusing reply stands for; a proxy's, without a problem document, gets one made up."""
    problem = read_problem(_document(reply), reply.status)
    return error_of(problem, retry_after(reply.headers.get("retry-after")))


def _document(reply: Reply) -> dict[str, object]:
    try:
        document = json.loads(reply.content) if "json" in reply.headers.get("content-type", "") else None
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    return {"detail": f"the server answered {reply.status} without a problem document"}


def read_problem(document: dict[str, object], status: int) -> Problem:
    """A problem document, whatever it lacks."""
    known = {"type", "title", "status", "detail", "request_id", "errors"}
    entries = document.get("errors")
    errors = tuple(
        FieldError(str(entry.get("field")), entry.get("value"), str(entry.get("expected")))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    )
    request_id = document.get("request_id")
    return Problem(
        type=str(document.get("type") or "about:blank"),
        title=str(document.get("title") or ""),
        status=status,
        detail=str(document.get("detail") or document.get("title") or f"status {status}"),
        request_id=None if request_id is None else str(request_id),
        errors=errors,
        extra={name: value for name, value in document.items() if name not in known},
    )


def retry_after(header: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds of a `Retry-After`, which is a number or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now())
    except (TypeError, ValueError):
        return None
