"""What can go wrong, as one tree. `ProblemError` and what is below it carry the server's problem document (RFC 9457).

LexisegError
 +- UnusableImage          what was given is no image that can be sent; a ValueError too
 +- NotOffered             the protocol of the address has no such call
 +- NoMasks                the answer carries none: it was asked with mask="none"
 +- MissingLibrary         an optional library is not installed; an ImportError too
 +- Unreachable            no server answers, or the connection broke
 +- TimedOut               the call's own time is over
 +- UnreadableAnswer       whatever answered does not speak as lexiseg does
 +- ProblemError           the server answered with a problem
     +- MalformedRequest       400
     +- Unauthorized           401
     +- Forbidden              403
     |   +- NotAllowed             beyond the scopes of the API key
     |   +- ReadOnly               a built-in vocabulary
     |   +- UrlFetchOff            the service fetches no images
     +- NotFound               404
     |   +- UnknownModel
     |   +- UnknownVocabulary
     |   +- UnknownStream          no stream of that id is open
     |   +- ImageExpired           nothing is kept of that image id
     +- TooSlow                408  the server waited too long for the request
     +- PreconditionFailed     412  the vocabulary has changed in the meantime
     +- TooLarge               413
     +- UnsupportedImage       415
     +- InvalidValue           422  `errors` names field, value and what was expected
     +- UndecodableImage       422
     +- ImageNotFetched        422
     +- Busy                   429
     |   +- QueueFull              the whole service is
     |   +- RateLimited            this client asks too often
     +- NotReady               503
     +- DeadlineExceeded       504
     +- ServerFault            500, and any other 5xx
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class LexisegError(Exception):
    """Root of everything that this package raises on purpose."""


class UnusableImage(LexisegError, ValueError):
    """What was given is no image that can be sent."""


class NotOffered(LexisegError):
    """The protocol of the client's address has no such call."""


class NoMasks(LexisegError):
    """The answer carries no masks."""


class MissingLibrary(LexisegError, ImportError):
    """An optional library is not installed."""


class Unreachable(LexisegError):
    """No server answers, or the connection broke. `sent`: whether the server may have got the request."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class TimedOut(LexisegError):
    """The call's own time is over."""


class UnreadableAnswer(LexisegError):
    """Whatever answered does not speak as lexiseg does."""


@dataclass(frozen=True)
class FieldError:
    """One wrong field of a request."""

    field: str
    value: Any
    expected: str


@dataclass(frozen=True)
class Problem:
    """A problem document. `extra` holds its members beyond those of every problem."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


class ProblemError(LexisegError):
    """The server answered with a problem. `retry_after`: seconds that it asks to wait, None if it says nothing."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        # All arguments go up: so copies and pickles of the error keep them.
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
        """The HTTP status; over gRPC, the one that REST would have answered."""
        return self.problem.status

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """The wrong fields, where the server names them."""
        return self.problem.errors


class MalformedRequest(ProblemError):
    """The server cannot read the request."""


class Unauthorized(ProblemError):
    """The API key is missing or unknown."""


class Forbidden(ProblemError):
    """Nobody may do that here."""


class NotAllowed(Forbidden):
    """The API key is known, and may do other things only."""


class ReadOnly(Forbidden):
    """Built-in vocabularies cannot be changed."""


class UrlFetchOff(Forbidden):
    """The service fetches no images: send the file itself."""


class NotFound(ProblemError):
    """There is nothing of that name."""


class UnknownModel(NotFound):
    """No such model."""


class UnknownVocabulary(NotFound):
    """No such vocabulary."""


class UnknownStream(NotFound):
    """No stream of that id is open."""


class ImageExpired(NotFound):
    """The server keeps nothing of that image id any more."""


class TooSlow(ProblemError):
    """The request came too slowly, or stopped in the middle."""


class PreconditionFailed(ProblemError):
    """`if_match` or `create_only` does not hold."""


class TooLarge(ProblemError):
    """More bytes, pixels or values than the server takes."""


class UnsupportedImage(ProblemError):
    """Not a still image of a type that the server takes."""


class InvalidValue(ProblemError):
    """A value is out of range."""


class UndecodableImage(ProblemError):
    """It begins like an image, but cannot be decoded."""


class ImageNotFetched(ProblemError):
    """The server got no image from the URL."""


class Busy(ProblemError):
    """Too many requests: asked again until the call's time was over."""


class QueueFull(Busy):
    """Too many requests of everybody's are waiting."""


class RateLimited(Busy):
    """This client asks more often, or more at once, than it may."""


class NotReady(ProblemError):
    """The server is still starting, or going down."""


class DeadlineExceeded(ProblemError):
    """The server did not get it done in its time."""


class ServerFault(ProblemError):
    """Something failed on the server's side; the request id finds it in its log."""


BY_TYPE: Mapping[str, type[ProblemError]] = {
    "malformed-request": MalformedRequest,
    "unauthorized": Unauthorized,
    "not-allowed": NotAllowed,
    "read-only": ReadOnly,
    "url-fetch-off": UrlFetchOff,
    "unknown-model": UnknownModel,
    "unknown-vocabulary": UnknownVocabulary,
    "unknown-stream": UnknownStream,
    "image-expired": ImageExpired,
    "too-slow": TooSlow,
    "precondition-failed": PreconditionFailed,
    "too-large": TooLarge,
    "unsupported-image": UnsupportedImage,
    "invalid-value": InvalidValue,
    "undecodable-image": UndecodableImage,
    "image-not-fetched": ImageNotFetched,
    "queue-full": QueueFull,
    "rate-limited": RateLimited,
    "not-ready": NotReady,
    "deadline-exceeded": DeadlineExceeded,
}
# A proxy in between answers without a type of ours.
BY_STATUS: Mapping[int, type[ProblemError]] = {
    400: MalformedRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: TooSlow,
    412: PreconditionFailed,
    413: TooLarge,
    415: UnsupportedImage,
    422: InvalidValue,
    429: Busy,
    503: NotReady,
    504: DeadlineExceeded,
}


def error_of(problem: Problem, retry_after: float | None = None) -> ProblemError:
    """The error for a problem: by its type, else by its status."""
    by_status = BY_STATUS.get(problem.status, ServerFault if problem.status >= 500 else ProblemError)
    return BY_TYPE.get(problem.type, by_status)(problem, retry_after)
