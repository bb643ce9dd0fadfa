"""Errors survive the way through gRPC statuses, and trailers stay short."""

from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from lexiseg_client.rpc.details import DETAILS
from lexiseg_client.stubs.segmentation_pb2 import Problem
from lexiseg_service.errors import KINDS, InvalidValue, QueueFull, RateLimited, ServiceError
from lexiseg_service.wire.errors import code_of, details_of, message_of, read_error

RAISED = [
    *(kind("it is so") for kind in KINDS.values() if kind not in (InvalidValue, QueueFull, RateLimited)),
    InvalidValue.of("threshold", 2.5, "at most 1"),
    InvalidValue.of("classes.0", "", "a word"),
    InvalidValue.of("vocabulary", None, "a name"),
    InvalidValue.of("background", True, "false"),
    QueueFull("64 in flight", 7),
    RateLimited("too often", 3),
]


class Failed:
    """A failed call of a client."""

    def __init__(self, *trailers: tuple[str, Any]) -> None:
        self._trailers = trailers

    def trailing_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self._trailers


def content(error: ServiceError) -> tuple[Any, ...]:
    return type(error), error.detail, error.extra, error.headers.get("Retry-After")


@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.type)
def test_an_error_arrives_as_it_left(error: ServiceError) -> None:
    arrived = read_error(Failed(*details_of(error, "an-id")))

    assert arrived is not None
    assert content(arrived) == content(error)


def test_every_error_of_the_tree_has_a_code_of_its_own_kind() -> None:
    kinds = [kind for kind in KINDS.values() if kind is not ServiceError]
    codes = {kind.type: code_of(kind.__new__(kind)) for kind in kinds}

    assert grpc.StatusCode.INTERNAL not in codes.values()
    assert codes["unauthorized"] is grpc.StatusCode.UNAUTHENTICATED
    assert codes["too-large"] is grpc.StatusCode.INVALID_ARGUMENT
    assert codes["queue-full"] is codes["rate-limited"] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert codes["not-ready"] is grpc.StatusCode.UNAVAILABLE


def test_the_details_are_those_that_other_libraries_know() -> None:
    error = QueueFull("64 in flight", 7)
    error.extra = {"errors": [{"field": "image", "value": 3, "expected": "one"}]}
    ((name, value),) = details_of(error, "an-id")
    status = Status.FromString(value)
    problem, info, bad, retry = Problem(), ErrorInfo(), BadRequest(), RetryInfo()

    found = [detail.Unpack(into) for detail, into in zip(status.details, (problem, info, bad, retry), strict=True)]

    assert (name, found) == (DETAILS, [True] * 4)
    assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert (info.domain, info.reason) == ("lexiseg", "QUEUE_FULL")
    assert (bad.field_violations[0].field, bad.field_violations[0].description) == ("image", "expected one")
    assert retry.retry_delay.seconds == 7
    assert (problem.status, problem.request_id) == (429, "an-id")


@pytest.mark.parametrize("letter", ["x", "é", "漢", "\ud800"])
def test_trailers_stay_below_what_every_client_takes(letter: str) -> None:
    findings = [InvalidValue.of(f"classes.{number}", letter * 80, letter * 60) for number in range(20)]
    error = InvalidValue(
        "; ".join(finding.detail for finding in findings),
        errors=[entry for finding in findings for entry in finding.extra["errors"]],
    )

    ((_, details),) = details_of(error, "an-id")
    arrived = read_error(Failed((DETAILS, details)))

    assert len(details) + len(quote(message_of(error))) < 7000
    assert arrived is not None
    assert arrived.extra["errors"]
