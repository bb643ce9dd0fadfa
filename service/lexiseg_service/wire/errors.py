"""Errors as rich gRPC statuses, and back: the problem document of the REST routes travels inside, so nothing is lost.

ServiceError -> Problem -> google.rpc.Status (Problem, ErrorInfo, BadRequest, RetryInfo) -> grpc-status-details-bin
"""

from __future__ import annotations

import sys
from traceback import clear_frames
from typing import Any, Protocol
from urllib.parse import quote

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Value
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from lexiseg_client.stubs.segmentation_pb2 import FieldError, Problem
from lexiseg_service.errors import ServiceError
from lexiseg_service.errors import error_of as error_of_type

DOMAIN = "lexiseg"
DETAILS = "grpc-status-details-bin"
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,  # not RESOURCE_EXHAUSTED: the same again would fail again
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# Trailers of more than 8 KiB may be refused by a client's transport, and the call with them. The message stands there
# once more, percent-encoded.
MOST_DETAIL_BYTES = 4096
MOST_MESSAGE_BYTES = 1024
Trailers = tuple[tuple[str, str | bytes], ...]


class Ending(Protocol):
    """A call that can be ended; the context of a servicer is one."""

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> Any: ...


class Failure(Protocol):
    """What a failed call tells; grpc.aio.AioRpcError is one."""

    def trailing_metadata(self) -> Any: ...


def problem_of(error: ServiceError, request_id: str) -> Problem:
    """The problem document of an error, as a message."""
    retry_after = error.headers.get("Retry-After")
    return Problem(
        type=error.type,
        title=error.title,
        status=error.status,
        detail=_text(error.detail),
        request_id=request_id,
        errors=[_field_error(entry) for entry in error.extra.get("errors", ())],
        retry_after_seconds=None if retry_after is None else int(retry_after),
    )


def error_of(problem: Problem) -> ServiceError:
    """The error that a problem tells of; of a kind that a newer release may know, a plain one."""
    errors = [
        {"field": entry.field, "value": MessageToDict(entry.value), "expected": entry.expected}
        for entry in problem.errors
    ]
    error = error_of_type(problem.type, problem.detail, **({"errors": errors} if errors else {}))
    if problem.HasField("retry_after_seconds"):
        error.headers = {"Retry-After": str(problem.retry_after_seconds)}
    return error


def code_of(error: ServiceError) -> grpc.StatusCode:
    """The code of the status that tells of an error."""
    return CODES.get(error.status, grpc.StatusCode.INTERNAL)


def message_of(error: ServiceError) -> str:
    """The status's message: the detail, cut where a trailer would grow too long."""
    message = _text(error.detail)
    if len(quote(message)) <= MOST_MESSAGE_BYTES:
        return message
    kept = message[:MOST_MESSAGE_BYTES]
    while len(quote(kept)) > MOST_MESSAGE_BYTES - len(quote("…")):
        kept = kept[: len(kept) * 9 // 10]
    return kept + "…"


def details_of(error: ServiceError, request_id: str) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that carries the details; findings that would make it too long are left out."""
    problem = problem_of(error, request_id)
    problem.detail = message_of(error)
    while (status := _status(error, problem)).ByteSize() > MOST_DETAIL_BYTES and problem.errors:
        del problem.errors[-1]
    return ((DETAILS, status.SerializeToString()),)


async def end(context: Ending, error: ServiceError, request_id: str, also: Trailers = ()) -> None:
    """Ends a call with the status that tells of an error; `also` goes before its details.

    gRPC keeps what `abort` raises, which keeps the error that is being handled, and that keeps what it passed on its
    way, as a message with its image. As this is a circle, it would live for long.
    """
    _let_go(sys.exception())
    await context.abort(code_of(error), message_of(error), (*also, *details_of(error, request_id)))


def _let_go(error: BaseException | None) -> None:
    """Of what an error passed on its way, and those that it came from."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__context__


def read_error(failure: Failure) -> ServiceError | None:
    """The error that a failed call carries; None where none of ours spoke (the connection broke, nobody listens)."""
    for name, value in failure.trailing_metadata() or ():
        if name == DETAILS:
            try:
                problem = read_problem(Status.FromString(value))
            except DecodeError:
                return None
            return None if problem is None else error_of(problem)
    return None


def read_problem(status: Status) -> Problem | None:
    """The problem among the details of a status."""
    problem = Problem()
    return next((problem for detail in status.details if detail.Unpack(problem)), None)


def _status(error: ServiceError, problem: Problem) -> Status:
    details: list[Message] = [problem, ErrorInfo(reason=_reason(error), domain=DOMAIN, metadata={"type": error.type})]
    if problem.errors:
        violations = [
            BadRequest.FieldViolation(field=entry.field, description=f"expected {entry.expected}")
            for entry in problem.errors
        ]
        details.append(BadRequest(field_violations=violations))
    if problem.HasField("retry_after_seconds"):
        retry = RetryInfo()
        retry.retry_delay.FromSeconds(problem.retry_after_seconds)
        details.append(retry)
    packed = []
    for message in details:
        packed.append(AnyMessage())
        packed[-1].Pack(message)
    return Status(code=code_of(error).value[0], message=problem.detail, details=packed)


def _field_error(entry: dict[str, Any]) -> FieldError:
    value = entry["value"]
    if isinstance(value, str):
        value = _text(value)
    return FieldError(field=_text(entry["field"]), value=ParseDict(value, Value()), expected=_text(entry["expected"]))


def _text(text: str) -> str:
    """Half a surrogate pair that a client sent is no text for the wire."""
    return text.encode("utf-8", "backslashreplace").decode()


def _reason(error: ServiceError) -> str:
    return error.type.upper().replace("-", "_")
