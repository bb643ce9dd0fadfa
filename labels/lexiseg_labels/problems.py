"""The problems that a server answers with (RFC 9457): one table for the service and its clients."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """Status and title of a problem."""

    status: int
    title: str


# By the stable `type`.
PROBLEMS = {
    "malformed-request": Kind(400, "The request is malformed"),
    "unauthorized": Kind(401, "A valid API key is needed"),
    "not-allowed": Kind(403, "The API key may not do that"),
    "read-only": Kind(403, "It cannot be changed"),
    "cross-site": Kind(403, "Pages of other sites may not do that"),
    "url-fetch-off": Kind(403, "Images by URL are switched off"),
    "switched-off": Kind(403, "It is not switched on here"),
    "unknown-model": Kind(404, "No such model"),
    "unknown-vocabulary": Kind(404, "No such vocabulary"),
    "unknown-head": Kind(404, "No such head"),
    "unknown-stream": Kind(404, "No such stream"),
    "unknown-job": Kind(404, "No such job"),
    "unknown-training": Kind(404, "No such training"),
    "image-expired": Kind(404, "The image is no longer known"),
    "too-slow": Kind(408, "The request came too slowly"),
    "name-taken": Kind(409, "The name is taken"),
    "model-changed": Kind(409, "It was made with another model"),
    "precondition-failed": Kind(412, "It has changed in the meantime"),
    "too-large": Kind(413, "The request is too large"),
    "unsupported-image": Kind(415, "The image type is not supported"),
    "unknown-host": Kind(421, "The host is none of this service's names"),
    "undecodable-image": Kind(422, "The image cannot be decoded"),
    "image-not-fetched": Kind(422, "The image cannot be fetched from its URL"),
    "invalid-value": Kind(422, "A value is out of range"),
    "queue-full": Kind(429, "Too many requests are waiting"),
    "rate-limited": Kind(429, "Too many requests from one client"),
    "internal-error": Kind(500, "Something failed on our side"),
    "not-ready": Kind(503, "The server is not ready"),
    "deadline-exceeded": Kind(504, "The deadline passed"),
}
# gRPC's status code of each HTTP status; INTERNAL for others.
GRPC_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "FAILED_PRECONDITION",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",  # not RESOURCE_EXHAUSTED: a retry would fail again
    415: "INVALID_ARGUMENT",
    421: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
