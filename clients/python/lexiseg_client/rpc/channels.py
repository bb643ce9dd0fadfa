"""What both drivers share of gRPC: how a channel is set up, and its methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from lexiseg_client.about import USER_AGENT
from lexiseg_client.calling.steps import Invoke
from lexiseg_client.stubs import segmentation_pb2 as pb

SETTINGS: tuple[tuple[str, int], ...] = (
    # Large overlays and maps come in one message; the server bounds what it takes.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A stream may be silent for long, and a proxy in between forgets silent connections.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Of both times the longer one counts, and this one is a minute by default.
    ("grpc.http2.ping_timeout_ms", 20_000),
    # Tries after a broken connection are ours, with waits of our own.
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
    # The standard service's messages are a name and a number: read as they are.
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
