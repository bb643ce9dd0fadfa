"""The gRPC transport: requests for each call, channel options, and gRPC errors as this package's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from lexiseg_client.address import USER_AGENT
from lexiseg_client.calling.retries import RetryPolicy, with_retries
from lexiseg_client.calling.steps import Call, Invoke
from lexiseg_client.errors import (
    LexisegError,
    NoServer,
    NoSuchHost,
    Problem,
    ProblemError,
    ProxyFailed,
    TimedOut,
    UnknownModel,
    Unreachable,
    UntrustedCertificate,
    WrongScheme,
    error_of,
    problem_here,
    untrusted_text,
)
from lexiseg_client.images import Source
from lexiseg_client.models import Health, Model
from lexiseg_client.rpc.messages import models, problem_error, segment_request, segmentation
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_labels.segmentation import Segmentation

DETAILS = "grpc-status-details-bin"
# HTTP status of errors without a problem document, which come from gRPC itself or a proxy.
STATUS_OF: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,  # gRPC's code for a message above its size limit
    grpc.StatusCode.UNIMPLEMENTED: 501,
}
# Details of a locally cancelled call; any other CANCELLED comes from the server.
NO_NAME = "Domain name not found"
CANCELLED_HERE = ("Locally cancelled by application!", "Channel closed!")
# In the details of a connection that failed.
UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED[^:]*:[^:]*|Hostname Verification Check failed")
CONNECTED_PORT = re.compile(r"last error: \S+ ipv[46]:\S*:([0-9]+): ")
SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse with status = SERVING
SETTINGS: tuple[tuple[str, int], ...] = (
    # Overlays and label maps arrive in one message; the server limits requests.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Proxies drop idle connections, and streams may be idle for long.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # The longer of the two timeouts applies; this one defaults to a minute.
    ("grpc.http2.ping_timeout_ms", 20_000),
    # Reconnect quickly: `calling.retries` does the backoff.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
OPTIONS: tuple[tuple[str, int | str], ...] = (*SETTINGS, ("grpc.primary_user_agent", USER_AGENT))
HEALTH = "/grpc.health.v1.Health/Check"
VIDEO = (
    "/lexiseg.v1.Segmentation/SegmentVideo",
    pb.SegmentVideoRequest.SerializeToString,
    pb.SegmentVideoResponse.FromString,
)


def method(channel: Any, step: Invoke) -> Any:
    """The callable for a step on a channel, sync or asyncio."""
    if step.method == "Check":  # messages stay bytes, which saves a dependency on their stubs
        return channel.unary_unary(HEALTH)
    return getattr(SegmentationStub(channel), step.method)


class GrpcTransport:
    """Transport for grpc and grpcs addresses; its methods are `RestTransport`'s."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy

    def segment(self, source: Source, question: Mapping[str, Any], deadline: float) -> Call[Segmentation]:
        """Segmentation.Segment."""
        attempt = partial(Invoke, "Segment", segment_request(source, question))
        return with_retries(attempt, segmentation, self._policy, deadline, repeatable=True)

    def models(self, deadline: float) -> Call[list[Model]]:
        """Segmentation.ListModels."""
        attempt = partial(Invoke, "ListModels", pb.ListModelsRequest())
        return with_retries(attempt, models, self._policy, deadline, repeatable=True)

    def model(self, name: str, deadline: float) -> Call[Model]:
        """Segmentation.ListModels, filtered by name."""
        available = yield from self.models(deadline)
        for model in available:
            if name in (model.name, f"{model.name}@{model.version}"):
                return model
        names = ", ".join(model.name for model in available)
        raise UnknownModel(problem_here("unknown-model", f"no model {name!r} here; there is: {names}"))

    def connect(self, deadline: float) -> Call[None]:
        """Retry until the server answers a health check, so that a stream starts on an open connection."""
        with suppress(ProblemError):
            yield from with_retries(partial(Invoke, "Check", b""), bytes, self._policy, deadline, repeatable=True)

    def health(self, timeout: float) -> Call[Health]:
        """grpc.health.v1.Health.Check for the whole server."""
        answer: bytes = yield Invoke("Check", b"", timeout)
        ready = answer == SERVING
        return Health(alive=True, ready=ready, detail="serving" if ready else "not serving")


def error_of_rpc(error: grpc.RpcError, target: str) -> LexisegError:
    """The exception for a failed call: from the problem document in its details, else from its status code."""
    failed: Any = error  # also a grpc.Call, which grpc's type stubs do not say
    code: grpc.StatusCode = failed.code()
    details = failed.details() or code.name
    problem = _problem_in(failed.trailing_metadata())
    if problem is not None:
        return problem_error(problem)
    if code is grpc.StatusCode.UNAVAILABLE and (reason := UNTRUSTED.search(details)):
        return UntrustedCertificate(untrusted_text(target, reason[0]), is_sent=False)
    if code is grpc.StatusCode.UNAVAILABLE and "Failed parsing HTTP/2" in details:
        return WrongScheme(f"{target} does not speak gRPC: write http://{target} for REST", is_sent=False)
    if code is grpc.StatusCode.UNAVAILABLE and "WRONG_VERSION_NUMBER" in details:
        text = (
            f"{target} speaks without TLS: write {target} for gRPC, or http://{target} for REST, not grpcs://{target}"
        )
        return WrongScheme(text, is_sent=False)
    if code is grpc.StatusCode.UNAVAILABLE and _is_of_proxy(details, target):
        return ProxyFailed(f"the proxy on the way to {target} does not answer, or refuses ({details})", is_sent=False)
    if code is grpc.StatusCode.UNAVAILABLE:
        kind = NoSuchHost if NO_NAME in details else NoServer
        return kind(f"no server answers at {target} ({details})", is_sent=True)
    if code is grpc.StatusCode.CANCELLED and details not in CANCELLED_HERE:
        # A gRPC server that shuts down cancels calls that it has not started (grpc/grpc issue 41785).
        return Unreachable(f"the server at {target} cancelled the call ({details})", is_sent=True)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(f"{target} did not answer in time")
    return error_of(Problem("about:blank", code.name, STATUS_OF.get(code, 500), details))


def _is_of_proxy(details: str, target: str) -> bool:
    """Whether gRPC failed to connect to another port than the target's, which is that of a proxy."""
    port = CONNECTED_PORT.search(details)
    return "HTTP proxy returned" in details or (port is not None and port[1] != target.rpartition(":")[2])


def _problem_in(metadata: Any) -> pb.Problem | None:
    for name, value in metadata or ():
        if name != DETAILS:
            continue
        try:
            for detail in status_pb2.Status.FromString(value).details:
                problem = pb.Problem()
                if detail.Unpack(problem):
                    return problem
        except DecodeError:
            return None
    return None
