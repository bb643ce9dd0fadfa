"""What the trailing metadata of a failed call says beyond gRPC's code and message."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from lexiseg_client.stubs import segmentation_pb2 as pb

DETAILS = "grpc-status-details-bin"


def problem_in(metadata: Any) -> pb.Problem | None:
    """The problem in the trailing metadata of a failed call; None: the transport failed."""
    status = dict(metadata or ()).get(DETAILS, b"")
    problem = pb.Problem()
    with suppress(DecodeError):
        return next((problem for detail in Status.FromString(status).details if detail.Unpack(problem)), None)
    return None
