"""What gRPC says went wrong, as the errors that REST gives too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from lexiseg_client.errors import LexisegError, Problem, TimedOut, Unreachable, error_of
from lexiseg_client.rpc.reading import problem_error
from lexiseg_client.stubs import segmentation_pb2 as pb

DETAILS = "grpc-status-details-bin"
# A failure without a problem document is gRPC's own, or a proxy's.
STATUS_OF: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,  # gRPC's own word for a message over its limit
    grpc.StatusCode.UNIMPLEMENTED: 501,
}
# What grpc calls a call that its own side gave up; any other CANCELLED comes from the server.
GIVEN_UP_HERE = ("Locally cancelled by application!", "Channel closed!")


def _status_class() -> type[Message]:
    """google.rpc.Status, its details left as bytes; in a pool of its own, so as not to clash with the real one."""
    field = descriptor_pb2.FieldDescriptorProto
    status = descriptor_pb2.DescriptorProto(
        name="Status",
        field=[
            field(name="details", number=3, type=field.TYPE_BYTES, label=field.LABEL_REPEATED),
        ],
    )
    file = descriptor_pb2.FileDescriptorProto(name="status.proto", package="lexiseg.client", message_type=[status])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind: type[Message] = message_factory.GetMessageClass(pool.FindMessageTypeByName("lexiseg.client.Status"))
    return kind


Status: Any = _status_class()


def error_of_rpc(error: grpc.RpcError, target: str) -> LexisegError:
    """The error for a failed call; a problem document in its details goes before its code."""
    failed: Any = error  # grpc's stubs do not say that an RpcError of a call is a call, too
    code: grpc.StatusCode = failed.code()
    details = failed.details() or code.name
    problem = _problem_in(failed.trailing_metadata())
    if problem is not None:
        return problem_error(problem)
    if code is grpc.StatusCode.UNAVAILABLE and "http1.x server" in details:
        return Unreachable(f"{target} speaks HTTP and no gRPC: its address is http://{target}", sent=False)
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unreachable(f"no server answers at {target} ({details})", sent=True)
    if code is grpc.StatusCode.CANCELLED and details not in GIVEN_UP_HERE:
        # A server of grpc's that ends says so of calls that it never handed to anybody (grpc/grpc issue 41785).
        return Unreachable(f"the server at {target} let go of the call ({details})", sent=True)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(f"{target} did not answer in time")
    return error_of(Problem("about:blank", code.name, STATUS_OF.get(code, 500), details))


def _problem_in(metadata: Any) -> pb.Problem | None:
    for name, value in metadata or ():
        if name != DETAILS:
            continue
        try:
            for packed in Status.FromString(value).details:
                detail = AnyMessage.FromString(packed)
                problem = pb.Problem()
                if detail.Unpack(problem):
                    return problem
        except DecodeError:
            return None
    return None
