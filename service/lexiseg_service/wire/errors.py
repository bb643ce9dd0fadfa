"""Errors as rich gRPC statuses and back; the details contain the problem document of the REST routes.

ServiceError -> Problem -> google.rpc.Status (Problem, ErrorInfo, BadRequest, RetryInfo) -> grpc-status-details-bin
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from lexiseg_client.rpc.details import DETAILS, problem_in
from lexiseg_client.stubs.segmentation_pb2 import Problem
from lexiseg_labels.problems import GRPC_CODES
from lexiseg_service.errors import KINDS, ServiceError
from lexiseg_service.errors import error_of as error_of_type

DOMAIN = "lexiseg"
# A client's transport may refuse trailers of more than 8 KiB. They also contain the message, percent-encoded.
MAX_DETAIL_BYTES = 4096
MAX_MESSAGE_BYTES = 1024
Trailers = tuple[tuple[str, str | bytes], ...]


def problem_of(error: ServiceError, request_id: str) -> Problem:
    retry_after = error.headers.get("Retry-After")
    document = error.document(request_id) | {"retry_after_seconds": None if retry_after is None else int(retry_after)}
    # Protobuf cannot encode lone surrogates, which a client may send.
    text = json.dumps(document, ensure_ascii=False, default=str).encode("utf-8", "replace")
    return Parse(text, Problem(), ignore_unknown_fields=True)


def error_of(problem: Problem) -> ServiceError:
    """The error of a problem document; a type that only a newer release knows keeps its name, title and status."""
    errors = [
        {"field": entry.field, "value": MessageToDict(entry.value), "expected": entry.expected}
        for entry in problem.errors
    ]
    error = error_of_type(problem.type, problem.detail, **({"errors": errors} if errors else {}))
    if problem.type not in KINDS and 400 <= problem.status < 600:
        error.type, error.title, error.status = problem.type, problem.title, problem.status
    if problem.HasField("retry_after_seconds"):
        error.headers = {"Retry-After": str(problem.retry_after_seconds)}
    return error


def code_of(error: ServiceError) -> grpc.StatusCode:
    return grpc.StatusCode[GRPC_CODES.get(error.status, "INTERNAL")]


def message_of(error: ServiceError) -> str:
    """The message of the status: the detail, shortened to fit a trailer."""
    message = error.detail.encode("utf-8", "replace").decode()
    if len(quote(message)) <= MAX_MESSAGE_BYTES:
        return message
    shortened = message[:MAX_MESSAGE_BYTES]
    while len(quote(shortened)) > MAX_MESSAGE_BYTES - len(quote("…")):
        shortened = shortened[: len(shortened) * 9 // 10]
    return shortened + "…"


def details_of(error: ServiceError, request_id: str) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata with the details, without the wrong fields that do not fit."""
    problem = problem_of(error, request_id)
    problem.detail = message_of(error)
    while (status := _status(error, problem)).ByteSize() > MAX_DETAIL_BYTES and problem.errors:
        del problem.errors[-1]
    return ((DETAILS, status.SerializeToString()),)


def end_with(context: Any, error: ServiceError, request_id: str, also: Trailers = ()) -> None:
    """Set the status of a call to that of an error, before its handler returns; `also` are further trailers.

    Not by `abort`, which raises: the context would keep the exception, and its frames the message, in memory.
    """
    context.set_code(code_of(error))
    context.set_details(message_of(error))
    context.set_trailing_metadata((*also, *details_of(error, request_id)))


def read_error(failure: Any) -> ServiceError | None:
    """The error in a failed call; None if the transport failed."""
    problem = problem_in(failure.trailing_metadata())
    return None if problem is None else error_of(problem)


def _status(error: ServiceError, problem: Problem) -> Status:
    reason = error.type.upper().replace("-", "_")
    details: list[Message] = [problem, ErrorInfo(reason=reason, domain=DOMAIN, metadata={"type": error.type})]
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
    status = Status(code=code_of(error).value[0], message=problem.detail)
    for message in details:
        status.details.add().Pack(message)
    return status
