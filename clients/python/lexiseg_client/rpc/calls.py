"""The calls over gRPC, the channels and methods that both clients use, and errors of gRPC as those of REST."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from lexiseg_client.address import USER_AGENT
from lexiseg_client.calling.retries import Patience, patiently
from lexiseg_client.calling.steps import Call, Invoke
from lexiseg_client.errors import LexisegError, Problem, ProblemError, TimedOut, UnknownModel, Unreachable, error_of
from lexiseg_client.images import Source
from lexiseg_client.models import Health, Model
from lexiseg_client.rpc.messages import models, problem_error, segment_request, segmentation
from lexiseg_client.segmentation import Segmentation
from lexiseg_client.stubs import segmentation_pb2 as pb

DETAILS = "grpc-status-details-bin"
# Of failures without a problem document, which come from gRPC itself or a proxy.
STATUS_OF: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,  # gRPC's own code for a message over its limit
    grpc.StatusCode.UNIMPLEMENTED: 501,
}
# Details of a call that this side cancelled; any other CANCELLED comes from the server.
CANCELLED_HERE = ("Locally cancelled by application!", "Channel closed!")
SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse with status = SERVING
SETTINGS: tuple[tuple[str, int], ...] = (
    # Large overlays and maps come in one message; the server bounds what it takes.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A stream may be silent for long, and a proxy in between forgets silent connections.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # The longer of both times counts, and this one is a minute by default.
    ("grpc.http2.ping_timeout_ms", 20_000),
    # Retries after a broken connection are those of `calling.retries`.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
OPTIONS: tuple[tuple[str, int | str], ...] = (*SETTINGS, ("grpc.primary_user_agent", USER_AGENT))
METHODS: dict[str, tuple[str, Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "Segment": (
        "/lexiseg.v1.Segmentation/Segment",
        pb.SegmentRequest.SerializeToString,
        pb.SegmentResponse.FromString,
    ),
    "ListModels": (
        "/lexiseg.v1.Segmentation/ListModels",
        pb.ListModelsRequest.SerializeToString,
        pb.ListModelsResponse.FromString,
    ),
    # The messages of the health service are a name and a number, written and read as bytes.
    "Check": ("/grpc.health.v1.Health/Check", bytes, bytes),
}
VIDEO = (
    "/lexiseg.v1.Segmentation/SegmentVideo",
    pb.SegmentVideoRequest.SerializeToString,
    pb.SegmentVideoResponse.FromString,
)


def credentials() -> grpc.ChannelCredentials:
    """TLS by the system's authorities; a channel of the user's own for anything else."""
    return grpc.ssl_channel_credentials()


def method(channel: Any, step: Invoke) -> Any:
    """A channel's callable for a step; `channel` may be one of asyncio."""
    path, pack, unpack = METHODS[step.method]
    return channel.unary_unary(path, request_serializer=pack, response_deserializer=unpack)


class GrpcWire:
    """The protocol of grpc and grpcs addresses; see `calling.calls.Wire`."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def segment(self, source: Source, question: Mapping[str, Any], until: float) -> Call[Segmentation]:
        """Segmentation.Segment."""
        attempt = partial(Invoke, "Segment", segment_request(source, question))
        return patiently(attempt, segmentation, self._patience, until, repeatable=True)

    def models(self, until: float) -> Call[list[Model]]:
        """Segmentation.ListModels."""
        attempt = partial(Invoke, "ListModels", pb.ListModelsRequest())
        return patiently(attempt, models, self._patience, until, repeatable=True)

    def model(self, name: str, until: float) -> Call[Model]:
        """One of the list."""
        found = yield from self.models(until)
        for model in found:
            if name in (model.name, f"{model.name}@{model.version}"):
                return model
        there = ", ".join(model.name for model in found)
        raise UnknownModel(Problem("unknown-model", "No such model", 404, f"no model {name!r} here; there is: {there}"))

    def reach(self, seconds: float) -> Call[None]:
        """Wait for any answer, so that the stream that follows finds an open connection."""
        until = self._patience.clock() + seconds
        with suppress(ProblemError):
            yield from patiently(partial(Invoke, "Check", b""), bytes, self._patience, until, repeatable=True)

    def health(self, timeout: float) -> Call[Health]:
        """grpc.health.v1.Health.Check of the whole server."""
        answer: bytes = yield Invoke("Check", b"", timeout)
        ready = answer == SERVING
        return Health(alive=True, ready=ready, detail="serving" if ready else "not serving")


def error_of_rpc(error: grpc.RpcError, target: str) -> LexisegError:
    """The error for a failed call, from the problem document in its details, else from its code."""
    failed: Any = error  # grpc's stubs do not say that an RpcError of a call is a call, too
    code: grpc.StatusCode = failed.code()
    details = failed.details() or code.name
    problem = _problem_in(failed.trailing_metadata())
    if problem is not None:
        return problem_error(problem)
    if code is grpc.StatusCode.UNAVAILABLE and "http1.x server" in details:
        return Unreachable(f"{target} speaks HTTP, not gRPC: its address is http://{target}", sent=False)
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unreachable(f"no server answers at {target} ({details})", sent=True)
    if code is grpc.StatusCode.CANCELLED and details not in CANCELLED_HERE:
        # A gRPC server that shuts down cancels calls that it has not begun (grpc/grpc issue 41785).
        return Unreachable(f"the server at {target} cancelled the call ({details})", sent=True)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(f"{target} did not answer in time")
    return error_of(Problem("about:blank", code.name, STATUS_OF.get(code, 500), details))


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
