"""The exception tree. `ProblemError` and its subclasses carry the server's problem document (RFC 9457).

LexisegError
 +- UnusableImage          not an image that can be sent; also a ValueError
 +- NotOffered             the address's protocol does not support this call
 +- NoMasks                the answer has no masks: requested with mask="none"
 +- NoViewer               no program, or no display, to show a picture
 +- MissingLibrary         an optional library is not installed; also an ImportError
 +- ClosedClient           the client was closed; also a RuntimeError
 +- Unreachable            no server answers, or the connection broke
 |   +- NoServer               nobody listens at the address
 |   |   +- NoSuchHost             no machine has the name in the address
 |   +- WrongScheme            the port speaks another protocol than the address says
 |   +- UntrustedCertificate   the server's TLS certificate is not trusted, as a self-signed one
 |   +- ProxyFailed            the proxy on the way cannot be reached, or refuses
 +- TimedOut               the call's timeout passed
 +- UnreadableAnswer       the response is not one of lexiseg
 +- ProblemError           the server answered with a problem: subclasses by `type` (lexiseg_labels.problems)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lexiseg_labels.errors import LexisegError as LexisegError
from lexiseg_labels.errors import MissingLibrary as MissingLibrary
from lexiseg_labels.errors import NoMasks as NoMasks
from lexiseg_labels.errors import NoViewer as NoViewer
from lexiseg_labels.errors import UnreadableAnswer as UnreadableAnswer
from lexiseg_labels.problems import PROBLEMS


class UnusableImage(LexisegError, ValueError):
    """Not an image that can be sent."""


class NotOffered(LexisegError):
    """The address's protocol does not support this call."""


class ClosedClient(LexisegError, RuntimeError):
    """The client was closed."""


class Unreachable(LexisegError):
    """No server answers, or the connection broke. `is_sent`: whether the request may have reached the server."""

    def __init__(self, message: str, *, is_sent: bool = True) -> None:  # unpickled by its message, then its members
        super().__init__(message)
        self.is_sent = is_sent


class NoServer(Unreachable):
    """Nobody listens at the address."""


class NoSuchHost(NoServer):
    """No machine has the name in the address."""


class WrongScheme(Unreachable):
    """The port speaks another protocol than the address says; the message has the address to write."""


class UntrustedCertificate(Unreachable):
    """The server's TLS certificate is not trusted: self-signed, expired, or of another name."""


def untrusted_text(address: str, reason: str) -> str:
    """The message of `UntrustedCertificate`."""
    return (
        f"the certificate of {address} is not trusted ({reason}); give the client its authority: "
        "http=httpx.Client(verify=ssl.create_default_context(cafile=...)), or channel= for gRPC"
    )


class ProxyFailed(Unreachable):
    """The proxy on the way to the server cannot be reached, or refuses to connect."""


# What no retry changes.
LASTING = (WrongScheme, UntrustedCertificate, ProxyFailed)


class TimedOut(LexisegError):
    """The call's timeout passed."""


@dataclass(frozen=True)
class FieldError:
    """An invalid field of a request."""

    field: str
    value: Any
    expected: str


@dataclass(frozen=True)
class Problem:
    """A problem document (RFC 9457). `extra` holds its other members."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


BY_TYPE: dict[str, type[ProblemError]] = {}  # the subclasses by the `type` of their problem
# For proxies, whose replies have no problem type: the first of a status, a base class before its own.
BY_STATUS: dict[int, type[ProblemError]] = {}


class ProblemError(LexisegError):
    """The server answered with a problem. `retry_after`: seconds to wait before a retry, None if unset."""

    def __init_subclass__(cls, problem: str | None = None, status: int | None = None) -> None:
        if problem is not None:
            BY_TYPE[problem] = cls
            status = PROBLEMS[problem].status
        if status is not None:
            BY_STATUS.setdefault(status, cls)

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        # Copying and pickling an exception need all its arguments in `args`.
        super().__init__(problem, retry_after)
        self.problem = problem
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = f"{self.problem.detail} ({self.problem.status} {self.problem.type}"
        return f"{text}, request {self.problem.request_id})" if self.problem.request_id else f"{text})"

    @property
    def type(self) -> str:
        """The stable name of the problem, like `image-expired`."""
        return self.problem.type

    @property
    def status(self) -> int:
        """The HTTP status; over gRPC, the equivalent one."""
        return self.problem.status

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """The invalid fields, where the server names them."""
        return self.problem.errors


class MalformedRequest(ProblemError, problem="malformed-request"):
    """The server cannot read the request."""


class Unauthorized(ProblemError, problem="unauthorized"):
    """The API key is missing or unknown."""


class Forbidden(ProblemError, status=403):
    """The operation is not permitted."""


class NotAllowed(Forbidden, problem="not-allowed"):
    """The API key lacks the scope for this operation."""


class ReadOnly(Forbidden, problem="read-only"):
    """Built-in vocabularies cannot be changed."""


class CrossSite(Forbidden, problem="cross-site"):
    """The server takes this only from its own page: no `Origin` of another site."""


class UrlFetchOff(Forbidden, problem="url-fetch-off"):
    """Fetching images by URL is disabled: send the file."""


class SwitchedOff(Forbidden, problem="switched-off"):
    """The operator of the server has not switched it on."""


class NotFound(ProblemError, status=404):
    """No resource has this name or id."""


class UnknownModel(NotFound, problem="unknown-model"):
    """No such model."""


class UnknownVocabulary(NotFound, problem="unknown-vocabulary"):
    """No such vocabulary."""


class UnknownHead(NotFound, problem="unknown-head"):
    """No such head, or it has another version by now."""


class UnknownStream(NotFound, problem="unknown-stream"):
    """No open stream has this id."""


class UnknownJob(NotFound, problem="unknown-job"):
    """No job of this API key has this id; it may have been removed."""


class UnknownTraining(NotFound, problem="unknown-training"):
    """No training of this API key has this id; it may have been removed."""


class ImageExpired(NotFound, problem="image-expired"):
    """The server no longer has this image."""


class TooSlow(ProblemError, problem="too-slow"):
    """The request arrived too slowly or incompletely."""


class Conflict(ProblemError, status=409):
    """It does not go with what the server has."""


class NameTaken(Conflict, problem="name-taken"):
    """Something that this API key made before has the name."""


class ModelChanged(Conflict, problem="model-changed"):
    """A head was taught on a model that is gone, or has other weights now: teach it again."""


class PreconditionFailed(ProblemError, problem="precondition-failed"):
    """`if_match` or `create_only` does not hold."""


class TooLarge(ProblemError, problem="too-large"):
    """The request exceeds a limit on bytes, pixels or values."""


class UnsupportedImage(ProblemError, problem="unsupported-image"):
    """Not a still image of a supported type."""


class UnknownHost(ProblemError, problem="unknown-host"):
    """The server does not answer under this name; its setting LEXISEG_ALLOWED_HOSTS names the ones it knows."""


class InvalidValue(ProblemError, problem="invalid-value"):
    """A value is out of range or of the wrong type."""


class UndecodableImage(ProblemError, problem="undecodable-image"):
    """The image is damaged and cannot be decoded."""


class ImageNotFetched(ProblemError, problem="image-not-fetched"):
    """The server could not fetch the image from its URL."""


class Busy(ProblemError, status=429):
    """Too many requests; raised after all retries."""


class QueueFull(Busy, problem="queue-full"):
    """The server's queue is full."""


class RateLimited(Busy, problem="rate-limited"):
    """This client exceeds its rate or concurrency limit."""


class NotReady(ProblemError, problem="not-ready"):
    """The server is starting or shutting down."""


class DeadlineExceeded(ProblemError, problem="deadline-exceeded"):
    """The request's deadline passed on the server."""


class ServerFault(ProblemError):
    """Internal server error; search the server's log for the request id."""


def error_of(problem: Problem, retry_after: float | None = None) -> ProblemError:
    """The exception for a problem, chosen by type, else by status."""
    by_status = BY_STATUS.get(problem.status, ServerFault if problem.status >= 500 else ProblemError)
    return BY_TYPE.get(problem.type, by_status)(problem, retry_after)


def invalid_value(name: str, value: Any, expected: str) -> ProblemError:
    """What the server says of a value that cannot be sent to it."""
    finding = FieldError(name, value, expected)
    detail = f"{name}: expected {expected}, got {value!r:.80}"
    return error_of(problem_here("invalid-value", detail, finding))


def problem_here(kind: str, detail: str, *errors: FieldError) -> Problem:
    """A problem that the client itself sees, as the server would answer it."""
    return Problem(kind, PROBLEMS[kind].title, PROBLEMS[kind].status, detail, errors=errors)


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
