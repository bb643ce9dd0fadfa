"""Errors of gRPC as the errors of REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from lexiseg_client.errors import LexisegError, Problem, TimedOut, Unreachable, error_of
from lexiseg_client.rpc.messages import problem_error
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
