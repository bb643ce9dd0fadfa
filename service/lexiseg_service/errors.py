"""What can go wrong for a client, as one small tree; each class is one stable problem `type` (RFC 9457).

ServiceError
 +- MalformedRequest    400 malformed-request    not the form that the route takes
 +- Unauthorized        401 unauthorized         no API key, or an unknown one
 +- NotAllowed          403 not-allowed          beyond the scopes of the API key
 +- ReadOnly            403 read-only            a built-in vocabulary
 +- UrlFetchOff         403 url-fetch-off        images by URL are switched off here
 +- UnknownModel        404 unknown-model
 +- UnknownVocabulary   404 unknown-vocabulary
 +- UnknownStream       404 unknown-stream
 +- ImageExpired        404 image-expired        no features are kept under that image id
 +- TooSlow             408 too-slow             the request did not come in time
 +- PreconditionFailed  412 precondition-failed  If-Match or If-None-Match does not hold
 +- TooLarge            413 too-large            bytes or pixels
 +- UnsupportedImage    415 unsupported-image    not a still image type that we take
 +- UndecodableImage    422 undecodable-image
 +- ImageNotFetched     422 image-not-fetched    no image came from the URL
 +- InvalidValue        422 invalid-value        names field, value and limit
 +- QueueFull           429 queue-full           with Retry-After
 +- RateLimited         429 rate-limited         one client's own limit; with Retry-After
 +- NotReady            503 not-ready
 +- DeadlineExceeded    504 deadline-exceeded
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

MOST_FINDINGS = 20  # wrong fields of one request that its client is told of
MOST_SAID = 5  # of them in the sentence
LONGEST_SHOWN = 80  # characters of a value
LONGEST_FIELD = 200  # likewise of a field, whose name may be the client's own
MOST_EXACT = 2**53  # whole numbers beyond it lose digits in most readers of JSON


class ServiceError(Exception):
    """Root. `detail` says what came and what was expected; it goes to the client as it is."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something failed on our side"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra
        self.headers: dict[str, str] = {}


class MalformedRequest(ServiceError):
    """The body is not the form that the route takes."""

    status, type, title = 400, "malformed-request", "The request is malformed"


class Unauthorized(ServiceError):
    """The API key is missing or unknown."""

    status, type, title = 401, "unauthorized", "A valid API key is needed"

    def __init__(self, detail: str, challenge: str = "Bearer") -> None:
        super().__init__(detail)
        self.headers = {"WWW-Authenticate": challenge}


class NotAllowed(ServiceError):
    """The API key is known, and its scopes do not hold what was asked."""

    status, type, title = 403, "not-allowed", "The API key may not do that"


class ReadOnly(ServiceError):
    """Nobody may change it."""

    status, type, title = 403, "read-only", "It cannot be changed"


class UrlFetchOff(ServiceError):
    """Whoever runs the service has not switched images by URL on."""

    status, type, title = 403, "url-fetch-off", "Images by URL are switched off"


class UnknownModel(ServiceError):
    """No such model here."""

    status, type, title = 404, "unknown-model", "No such model"


class UnknownVocabulary(ServiceError):
    """No vocabulary of that name."""

    status, type, title = 404, "unknown-vocabulary", "No such vocabulary"


class UnknownStream(ServiceError):
    """No stream of that id is open."""

    status, type, title = 404, "unknown-stream", "No such stream"


class ImageExpired(ServiceError):
    """Nothing is kept of the image that the id names."""

    status, type, title = 404, "image-expired", "The image is no longer known"


class TooSlow(ServiceError):
    """The head or the body of a request did not come within its time, or at the least pace."""

    status, type, title = 408, "too-slow", "The request came too slowly"


class PreconditionFailed(ServiceError):
    """What is there is not what the client expects."""

    status, type, title = 412, "precondition-failed", "It has changed in the meantime"


class TooLarge(ServiceError):
    """More bytes or pixels than the limit."""

    status, type, title = 413, "too-large", "The request is too large"


class UnsupportedImage(ServiceError):
    """Not a still image of a type that we take."""

    status, type, title = 415, "unsupported-image", "Not an image type that is taken"


class UndecodableImage(ServiceError):
    """It begins like an image, but cannot be decoded."""

    status, type, title = 422, "undecodable-image", "The image cannot be decoded"


class ImageNotFetched(ServiceError):
    """No image came from the URL. The message is the same for every host that is refused or cannot be reached."""

    status, type, title = 422, "image-not-fetched", "The image cannot be fetched from its URL"


class InvalidValue(ServiceError):
    """A value out of range. `errors` lists field, value and what was expected."""

    status, type, title = 422, "invalid-value", "A value is out of range"

    @classmethod
    def of(cls, field: str, value: Any, expected: str) -> InvalidValue:
        """One wrong field, said in one sentence and as data."""
        shown, field = _shown(value), _cut(field, LONGEST_FIELD)
        return cls(
            f"{field}: expected {expected}, got {shown!r}",
            errors=[{"field": field, "value": shown, "expected": expected}],
        )

    @classmethod
    def together(cls, findings: Iterable[InvalidValue]) -> InvalidValue:
        """Several wrong fields as one error, each once; what comes after the first `MOST_FINDINGS` is left out."""
        distinct: dict[str, InvalidValue] = {}
        for finding in findings:
            distinct.setdefault(finding.detail, finding)
            if len(distinct) == MOST_FINDINGS:
                break
        return cls(
            "; ".join(list(distinct)[:MOST_SAID]),
            errors=[entry for finding in distinct.values() for entry in finding.extra["errors"]],
        )


class QueueFull(ServiceError):
    """More requests wait than the queue holds."""

    status, type, title = 429, "queue-full", "Too many requests are waiting"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_seconds)}


class RateLimited(ServiceError):
    """One client asks more often, or more at once, than it may."""

    status, type, title = 429, "rate-limited", "Too many requests from one client"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_seconds)}


class NotReady(ServiceError):
    """The model is still loading or cannot be loaded, or the process is going down."""

    status, type, title = 503, "not-ready", "Not ready"

    def __init__(self, detail: str, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_seconds)}


class DeadlineExceeded(ServiceError):
    """The answer would have come after the request's deadline."""

    status, type, title = 504, "deadline-exceeded", "The deadline passed"


def kinds(root: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """Every kind of error, the root first."""
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def error_of(problem_type: str, detail: str, **extra: Any) -> ServiceError:
    """The error that a problem tells of; of a type that a newer release may know, a plain one."""
    kind = KINDS.get(problem_type, ServiceError)
    error = kind.__new__(kind)  # each kind's own __init__ writes headers, which the problem has of its own
    ServiceError.__init__(error, detail, **extra)
    return error


def unexpected() -> ServiceError:
    """What is told of an error that nobody foresaw: nothing of its own words."""
    return ServiceError("an unexpected error; the request id finds it in the log")


def _shown(value: Any) -> bool | int | float | str | None:
    """A value as JSON can say it: plain ones as they are, anything else, and what is long, as a short text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= MOST_EXACT:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)  # numpy's are floats, too, and say so
    # As a text a list of thousands takes longer than to find what is wrong with it.
    text = str(value[: LONGEST_SHOWN + 1] if isinstance(value, list | str) else value)
    return _cut(text, LONGEST_SHOWN)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


# Every stable problem type; the protocols, the client and OpenAPI know these and no other.
KINDS: Mapping[str, type[ServiceError]] = {kind.type: kind for kind in kinds()}
