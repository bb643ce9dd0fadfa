"""Retries with exponential backoff, jitter and Retry-After, bounded by the call's deadline."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from lexiseg_client.address import PREFIX
from lexiseg_client.calling.steps import Call, Step, Wait
from lexiseg_client.errors import (
    LASTING,
    Busy,
    FieldError,
    LexisegError,
    NoSuchHost,
    NotReady,
    Problem,
    ProblemError,
    ServerFault,
    Unreachable,
    error_of,
)

logger: logging.Logger = logging.getLogger("lexiseg_client")
T = TypeVar("T")
BAD_GATEWAY = 502  # from a proxy while its server restarts
MIN_ATTEMPT_SECONDS = 0.001  # an attempt's timeout must not be zero
WARN_AFTER = 2  # failed attempts before a warning is logged: a rolling update is over by then


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


def with_retries(
    attempt: Callable[[float], Step],
    read: Callable[[Any], T],
    rule: Retry,
    deadline: float,
    *,
    repeatable: bool,
) -> Call[T]:
    """Repeat a step until it succeeds, fails for good, or `deadline` (clock time) passes.

    `attempt` makes the step for a timeout in seconds, `read` parses its outcome; what is `repeatable` is idempotent.
    """
    count = 0
    while True:
        remaining = deadline - time.monotonic()
        try:
            outcome = yield attempt(max(remaining, MIN_ATTEMPT_SECONDS))
            return read(outcome)
        except LASTING:
            raise
        except (ProblemError, Unreachable) as error:
            if count >= rule.most or not is_retryable(error, repeatable=repeatable):
                raise
            server_wait = error.retry_after if isinstance(error, ProblemError) else None
            pause = rule.wait(count, server_wait, random.random())
            if time.monotonic() + pause >= deadline:
                raise
            if count == WARN_AFTER and isinstance(error, Unreachable):
                logger.warning("%s; retrying for %.0f seconds at most", error, deadline - time.monotonic())
        yield Wait(pause)
        count += 1


def accepted(reply: httpx.Response) -> httpx.Response:
    """A reply that is 2xx. Raises ProblemError: another one."""
    if reply.is_success:
        return reply
    raise problem_of(reply)


def is_retryable(error: LexisegError, *, repeatable: bool) -> bool:
    """Whether a retry could succeed and is safe: what is not `repeatable` is retried only if it was not executed."""
    if isinstance(error, Busy):
        return True
    if isinstance(error, NoSuchHost):
        return False
    if isinstance(error, Unreachable):
        return repeatable or not error.is_sent
    return repeatable and (
        isinstance(error, NotReady) or (isinstance(error, ServerFault) and error.status == BAD_GATEWAY)
    )


def problem_of(reply: httpx.Response) -> ProblemError:
    """The error of an HTTP error reply; a proxy's reply without a problem document gets a generic one."""
    problem = read_problem(_document(reply), reply.status_code)
    return error_of(problem, retry_after(reply.headers.get("retry-after")))


def _document(reply: httpx.Response) -> dict[str, object]:
    if reply.has_redirect_location:
        place = reply.headers["location"].partition(f"{PREFIX}/")[0]
        return {"detail": f"the server, or a proxy before it, redirects to {place:.200}: write the right address"}
    try:
        document = json.loads(reply.content) if "json" in reply.headers.get("content-type", "") else None
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    return {"detail": f"the server, or a proxy before it, answered {reply.status_code} without a problem document"}


def read_problem(document: dict[str, object], status: int) -> Problem:
    """A problem from its JSON; missing members get defaults."""
    members = {"type", "title", "status", "detail", "request_id", "errors"}
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
        extra={name: value for name, value in document.items() if name not in members},
    )


def retry_after(header: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds from a `Retry-After` header, which holds a number or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now())
    except (TypeError, ValueError):
        return None
