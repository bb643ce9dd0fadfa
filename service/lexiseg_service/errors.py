"""Errors for clients, as one small tree; each class is one stable problem `type` (RFC 9457).

ServiceError
 +- MalformedRequest    400 malformed-request    not the form that the route expects
 +- Unauthorized        401 unauthorized         no API key, or an unknown one
 +- NotAllowed          403 not-allowed          the API key lacks the scope
 +- ReadOnly            403 read-only            a built-in vocabulary
 +- CrossSite           403 cross-site           sent by the page of another site
 +- UrlFetchOff         403 url-fetch-off        images by URL are switched off
 +- SwitchedOff         403 switched-off         the operator has not switched it on
 +- UnknownModel        404 unknown-model
 +- UnknownVocabulary   404 unknown-vocabulary
 +- UnknownHead         404 unknown-head
 +- UnknownStream       404 unknown-stream
 +- UnknownJob          404 unknown-job
 +- UnknownTraining     404 unknown-training
 +- ImageExpired        404 image-expired        nothing is cached for that image id
 +- TooSlow             408 too-slow             the body did not arrive in time
 +- NameTaken           409 name-taken           something else has the name
 +- ModelChanged        409 model-changed        it was made with other weights than are served
 +- PreconditionFailed  412 precondition-failed  If-Match or If-None-Match does not hold
 +- TooLarge            413 too-large            bytes or pixels
 +- UnsupportedImage    415 unsupported-image    not a supported still image type
 +- UnknownHost         421 unknown-host         the Host is none of this service's names
 +- UndecodableImage    422 undecodable-image
 +- ImageNotFetched     422 image-not-fetched    the URL gave no image
 +- InvalidValue        422 invalid-value        names field, value and limit
 +- QueueFull           429 queue-full           with Retry-After
 +- RateLimited         429 rate-limited         a limit of this client; with Retry-After
 +- NotReady            503 not-ready
 +- DeadlineExceeded    504 deadline-exceeded
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

MAX_FINDINGS = 20  # wrong fields that an error lists
MAX_FINDINGS_IN_TEXT = 5
MAX_VALUE_LENGTH = 80  # characters of a value that an error quotes
MAX_FIELD_LENGTH = 200  # characters of a field's name, which may come from the client
MAX_EXACT_INTEGER = 2**53  # larger integers lose digits in most JSON parsers


class ServiceError(Exception):
    """Root. `detail` says what came and what was expected; the client sees it unchanged."""

    # Of the class; of an instance only where a worker of a newer release sent it.
    status: int = 500
    type: str = "internal-error"
    title: str = "Something failed on our side"
    reason: ClassVar[str] = "other"  # of a failed request, in the metrics

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra
        self.headers: dict[str, str] = {}

    def document(self, request_id: str | None) -> dict[str, Any]:
        """The problem document (RFC 9457)."""
        about = {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
        return {**about, "request_id": request_id, **self.extra}


class MalformedRequest(ServiceError):
    """The body is not in the form that the route expects."""

    status, type, title = 400, "malformed-request", "The request is malformed"


class Unauthorized(ServiceError):
    """The API key is missing or unknown."""

    status, type, title = 401, "unauthorized", "A valid API key is needed"

    def __init__(self, detail: str, challenge: str = "Bearer") -> None:
        super().__init__(detail)
        self.headers = {"WWW-Authenticate": challenge}


class NotAllowed(ServiceError):
    """The API key is known and lacks the scope."""

    status, type, title = 403, "not-allowed", "The API key may not do that"


class ReadOnly(ServiceError):
    """A built-in vocabulary cannot be changed."""

    status, type, title = 403, "read-only", "It cannot be changed"


class CrossSite(ServiceError):
    """The page of another site sent it; CORS settings name those that may."""

    status, type, title = 403, "cross-site", "Pages of other sites may not do that"


class UrlFetchOff(ServiceError):
    """Images by URL are switched off in the settings."""

    status, type, title = 403, "url-fetch-off", "Images by URL are switched off"


class SwitchedOff(ServiceError):
    """The operator has not switched it on."""

    status, type, title = 403, "switched-off", "It is not switched on here"


class UnknownModel(ServiceError):
    """No such model here."""

    status, type, title = 404, "unknown-model", "No such model"


class UnknownVocabulary(ServiceError):
    """No vocabulary of that name."""

    status, type, title = 404, "unknown-vocabulary", "No such vocabulary"


class UnknownHead(ServiceError):
    """No head of that name, or none of that version."""

    status, type, title = 404, "unknown-head", "No such head"


class UnknownStream(ServiceError):
    """No stream of that id is open."""

    status, type, title = 404, "unknown-stream", "No such stream"


class UnknownJob(ServiceError):
    """No job of that id."""

    status, type, title = 404, "unknown-job", "No such job"


class UnknownTraining(ServiceError):
    """No training of that id."""

    status, type, title = 404, "unknown-training", "No such training"


class ImageExpired(ServiceError):
    """Nothing is cached for the image of that id."""

    status, type, title = 404, "image-expired", "The image is no longer known"


class TooSlow(ServiceError):
    """The body of a request did not arrive in time."""

    status, type, title = 408, "too-slow", "The request came too slowly"


class NameTaken(ServiceError):
    """Something that the caller made before has the name."""

    status, type, title = 409, "name-taken", "The name is taken"


class ModelChanged(ServiceError):
    """It was made with weights of a model that are not served any more."""

    status, type, title = 409, "model-changed", "It was made with another model"


class PreconditionFailed(ServiceError):
    """The resource is not in the state that the client expects."""

    status, type, title = 412, "precondition-failed", "It has changed in the meantime"


class TooLarge(ServiceError):
    """More bytes or pixels than the limit."""

    status, type, title = 413, "too-large", "The request is too large"
    reason = "decode"


class UnsupportedImage(ServiceError):
    """Not a still image of a supported type."""

    status, type, title = 415, "unsupported-image", "The image type is not supported"
    reason = "decode"


class UnknownHost(ServiceError):
    """The Host header is none of this service's names, as after DNS rebinding."""

    status, type, title = 421, "unknown-host", "The host is none of this service's names"


class UndecodableImage(ServiceError):
    """It starts like an image, but cannot be decoded."""

    status, type, title = 422, "undecodable-image", "The image cannot be decoded"
    reason = "decode"


class ImageNotFetched(ServiceError):
    """The URL gave no image. The message is the same for refused and for unreachable hosts."""

    status, type, title = 422, "image-not-fetched", "The image cannot be fetched from its URL"


class InvalidValue(ServiceError):
    """A value out of range. `errors` lists field, value and what was expected."""

    status, type, title = 422, "invalid-value", "A value is out of range"

    @classmethod
    def of(cls, field: str, value: Any, expected: str) -> InvalidValue:
        """One wrong field, as a sentence and as data."""
        short_value, field = _short(value), _cut(field, MAX_FIELD_LENGTH)
        return cls(
            f"{field}: expected {expected}, got {_quoted(short_value)}",
            errors=[{"field": field, "value": short_value, "expected": expected}],
        )

    @classmethod
    def because(cls, field: str, reason: str) -> InvalidValue:
        """One wrong field that no short value shows, with a sentence about it."""
        return cls(f"{field}: {reason}", errors=[{"field": field, "value": None, "expected": reason}])

    @classmethod
    def together(cls, findings: Iterable[InvalidValue]) -> InvalidValue:
        """Several wrong fields as one error: the first `MAX_FINDINGS` distinct ones."""
        distinct: dict[str, InvalidValue] = {}
        for finding in findings:
            distinct.setdefault(finding.detail, finding)
            if len(distinct) == MAX_FINDINGS:
                break
        return cls(
            "; ".join(list(distinct)[:MAX_FINDINGS_IN_TEXT]),
            errors=[entry for finding in distinct.values() for entry in finding.extra["errors"]],
        )


class Temporary(ServiceError):
    """Refused now and perhaps not later: the answer carries `Retry-After`."""

    def __init__(self, detail: str, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_seconds)}


class QueueFull(Temporary):
    """More requests wait than the queue holds."""

    status, type, title = 429, "queue-full", "Too many requests are waiting"
    reason = "rejected"


class RateLimited(Temporary):
    """A client exceeds its rate, its quota, or its share."""

    status, type, title = 429, "rate-limited", "Too many requests from one client"


class NotReady(Temporary):
    """The model is loading or cannot be loaded, or the process is shutting down."""

    status, type, title = 503, "not-ready", "The server is not ready"
    reason = "backend"


class DeadlineExceeded(ServiceError):
    """The answer would have come after the request's deadline."""

    status, type, title = 504, "deadline-exceeded", "The deadline passed"
    reason = "timeout"


def kinds(root: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """Every kind of error, the root first."""
    if root is not Temporary:
        yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def error_of(problem_type: str, detail: str, **extra: Any) -> ServiceError:
    """The error of a problem document; a plain `ServiceError` for an unknown type."""
    kind = KINDS.get(problem_type, ServiceError)
    error = kind.__new__(kind)  # skips the subclass's __init__, which sets headers
    ServiceError.__init__(error, detail, **extra)
    return error


def unexpected() -> ServiceError:
    """The error that clients see for an unexpected exception."""
    return ServiceError("an unexpected error; the request id finds it in the log")


def _short(value: Any) -> bool | int | float | str | None:
    """A value for an error in JSON: plain ones unchanged, others as a short text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= MAX_EXACT_INTEGER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)  # also converts numpy's floats
    # Cut first: the text of a list of thousands would take long.
    cut = value[: MAX_VALUE_LENGTH + 1] if isinstance(value, list | str) else value
    is_json = isinstance(cut, list | dict)
    return _cut(json.dumps(cut, default=str, ensure_ascii=False) if is_json else str(cut), MAX_VALUE_LENGTH)


def _quoted(value: bool | int | float | str | None) -> str:
    """A value of `_short` in a sentence: as in JSON, texts between quotes."""
    return repr(value) if isinstance(value, str) else json.dumps(value)


def _cut(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."


# All stable problem types.
KINDS: Mapping[str, type[ServiceError]] = {kind.type: kind for kind in kinds()}
