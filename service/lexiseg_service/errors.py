"""Errors for clients; each class is one stable problem `type` (RFC 9457)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, ClassVar

from lexiseg_labels.problems import PROBLEMS

MAX_FINDINGS = 20  # wrong fields that an error lists
MAX_FINDINGS_IN_TEXT = 5
MAX_VALUE_LENGTH = 80  # characters of a value that an error quotes
MAX_FIELD_LENGTH = 200  # characters of a field's name, which may come from the client
MAX_EXACT_INTEGER = 2**53  # larger integers lose digits in most JSON parsers


KINDS: dict[str, type[ServiceError]] = {}  # by their types


class ServiceError(Exception):
    """Root. `detail` says what came and what was expected; the client sees it unchanged."""

    # Of the class; of an instance only where a worker of a newer release sent it.
    type: str = "internal-error"
    status, title = PROBLEMS[type]
    reason: ClassVar[str] = "other"  # of a failed request, in the metrics

    def __init_subclass__(cls, problem: str = "", reason: str = "other") -> None:
        if problem:
            cls.type, cls.reason = problem, reason
            cls.status, cls.title = PROBLEMS[problem]
            KINDS[problem] = cls

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra
        self.headers: dict[str, str] = {}

    def document(self, request_id: str | None) -> dict[str, Any]:
        about = {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
        return {**about, "request_id": request_id, **self.extra}


KINDS[ServiceError.type] = ServiceError


class MalformedRequest(ServiceError, problem="malformed-request"):
    """The body is not in the form that the route expects."""


class Unauthorized(ServiceError, problem="unauthorized"):
    def __init__(self, detail: str, challenge: str = "Bearer") -> None:
        super().__init__(detail)
        self.headers = {"WWW-Authenticate": challenge}


class NotAllowed(ServiceError, problem="not-allowed"):
    """The API key is known and lacks the scope."""


class ReadOnly(ServiceError, problem="read-only"):
    """A built-in vocabulary cannot be changed."""


class CrossSite(ServiceError, problem="cross-site"):
    """The page of another site sent it; CORS settings name the sites that may."""


class UrlFetchOff(ServiceError, problem="url-fetch-off"):
    """Images by URL are switched off in the settings."""


class SwitchedOff(ServiceError, problem="switched-off"):
    """The operator has not switched it on."""


class UnknownModel(ServiceError, problem="unknown-model"):
    """No such model here."""

    @classmethod
    def among(cls, name: str, served: Iterable[str]) -> UnknownModel:
        return cls(f"model: no {name[:80]!r} here; there is: {', '.join(served)}")


class UnknownVocabulary(ServiceError, problem="unknown-vocabulary"):
    """No vocabulary of that name."""


class UnknownHead(ServiceError, problem="unknown-head"):
    """No head of that name, or none of that version."""


class UnknownStream(ServiceError, problem="unknown-stream"):
    """No stream of that id is open."""


class UnknownJob(ServiceError, problem="unknown-job"):
    """No job of that id."""


class UnknownTraining(ServiceError, problem="unknown-training"):
    """No training of that id."""


class ImageExpired(ServiceError, problem="image-expired"):
    """Nothing is cached for the image of that id."""


class TooSlow(ServiceError, problem="too-slow"):
    """The body of a request did not arrive in time."""


class NameTaken(ServiceError, problem="name-taken"):
    """Something that the caller made before has the name."""


class ModelChanged(ServiceError, problem="model-changed"):
    """It was made with weights of a model that are not served any more."""


class PreconditionFailed(ServiceError, problem="precondition-failed"):
    """The resource is not in the state that the client expects."""


class TooLarge(ServiceError, problem="too-large", reason="decode"):
    """More bytes or pixels than the limit."""


class UnsupportedImage(ServiceError, problem="unsupported-image", reason="decode"):
    """Not a still image of a supported type."""


class UnknownHost(ServiceError, problem="unknown-host"):
    """The Host header is none of this service's names, as after DNS rebinding."""


class UndecodableImage(ServiceError, problem="undecodable-image", reason="decode"):
    """It starts like an image, but cannot be decoded."""


class ImageNotFetched(ServiceError, problem="image-not-fetched"):
    """The URL gave no image. The message is the same for refused and for unreachable hosts."""


class InvalidValue(ServiceError, problem="invalid-value"):
    """A value out of range. `errors` lists field, value and what was expected."""

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


class QueueFull(Temporary, problem="queue-full", reason="rejected"):
    """More requests wait than the queue holds."""


class RateLimited(Temporary, problem="rate-limited"):
    """A client exceeds its rate, its quota, or its share."""


class NotReady(Temporary, problem="not-ready", reason="backend"):
    """The model is loading or cannot be loaded, or the process is shutting down."""


class DeadlineExceeded(ServiceError, problem="deadline-exceeded", reason="timeout"):
    """The answer would have come after the request's deadline."""


def error_of(problem_type: str, detail: str, **extra: Any) -> ServiceError:
    """The error of a problem document; a plain `ServiceError` for an unknown type."""
    kind = KINDS.get(problem_type, ServiceError)
    error = kind.__new__(kind)  # skips the subclass's __init__, which sets headers
    ServiceError.__init__(error, detail, **extra)
    return error


def unexpected() -> ServiceError:
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
