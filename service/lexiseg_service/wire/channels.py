"""Options of gRPC servers and channels, for the public and the internal interface."""

from __future__ import annotations

from lexiseg_service.settings import Settings

Options = list[tuple[str, int | str]]

# An overlay or a label map of a large image passes between worker and gateway, too.
MAX_INTERNAL_BYTES = 256 * 2**20
# Seconds without traffic until a keepalive ping, and seconds to wait for its answer.
CLIENT_SILENT, CLIENT_PING = 30.0, 10.0
WORKER_SILENT, WORKER_PING = 10.0, 5.0
CLIENT_IDLE = 300.0  # seconds without a call, then a client's connection is closed
# Clients reconnect that often, so that new gateways get their share and a gateway that shuts down is left in time; open
# calls have the grace. The Helm chart waits for the age before it stops a gateway.
CONNECTION_AGE = 20.0
CONNECTION_GRACE = 2100.0
MIN_CLIENT_PING_INTERVAL = 10.0  # seconds


def public_options(settings: Settings) -> Options:
    """Options of the public server."""
    return [
        # Without SO_REUSEPORT a second server on the port fails instead of sharing the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.limits.max_grpc_bytes),
        ("grpc.max_send_message_length", settings.limits.max_grpc_bytes),
        ("grpc.max_concurrent_streams", 100),
        # Keeps the flow-control window of an unread message at 64 KiB; the probe would grow it to megabytes.
        ("grpc.http2.bdp_probe", 0),
        *_keepalive(CLIENT_SILENT, CLIENT_PING),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", round(1e3 * MIN_CLIENT_PING_INTERVAL)),
        ("grpc.max_connection_age_ms", round(1e3 * CONNECTION_AGE)),
        ("grpc.max_connection_age_grace_ms", round(1e3 * CONNECTION_GRACE)),
        ("grpc.max_connection_idle_ms", round(1e3 * CLIENT_IDLE)),
    ]


def worker_options() -> Options:
    """Options of a worker's server."""
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_INTERNAL_BYTES),
        ("grpc.max_send_message_length", MAX_INTERNAL_BYTES),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", round(1e3 * WORKER_PING)),
    ]


def gateway_options() -> Options:
    """Options of a gateway's channel to one worker."""
    return [
        ("grpc.max_receive_message_length", MAX_INTERNAL_BYTES),
        ("grpc.max_send_message_length", MAX_INTERNAL_BYTES),
        *_keepalive(WORKER_SILENT, WORKER_PING),
        # A worker that returns is used again within about a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.use_local_subchannel_pool", 1),  # a removed worker leaves nothing behind
        ("grpc.enable_retries", 0),  # the gateway retries itself
        ("grpc.enable_http_proxy", 0),  # a proxy of the environment is not for the cluster
    ]


def _keepalive(silent: float, ping: float) -> Options:
    return [
        ("grpc.keepalive_time_ms", round(1e3 * silent)),
        ("grpc.keepalive_timeout_ms", round(1e3 * ping)),
        # The longer of both timeouts counts; this one is a minute by default.
        ("grpc.http2.ping_timeout_ms", round(1e3 * ping)),
        ("grpc.http2.max_pings_without_data", 0),
    ]
