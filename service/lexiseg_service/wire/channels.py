"""How connections of gRPC are kept, on both sides of both interfaces."""

from __future__ import annotations

from lexiseg_service.settings import Settings

Options = list[tuple[str, int | str]]

# Between gateways and workers, an overlay or a label map of a large image passes too.
MOST_INTERNAL_BYTES = 256 * 2**20
# Seconds of silence after which a connection is tried with a ping, and how long its answer may take.
CLIENT_SILENT, CLIENT_PING = 30.0, 10.0
WORKER_SILENT, WORKER_PING = 10.0, 5.0
CLIENT_IDLE = 300.0  # seconds without a call, then a client's connection is closed
# Clients reconnect that often, so that new gateways get their share and a gateway that shuts down is left in time; open
# calls have the grace. The Helm chart waits for the age before it stops a gateway.
CONNECTION_AGE = 20.0
CONNECTION_GRACE = 2100.0
CLIENTS_MAY_PING = 10.0  # seconds between two pings of a client


def public_options(settings: Settings) -> Options:
    """Of the server that clients talk to."""
    return [
        # Two servers on one port would share its calls by chance; the second one is to hear that it is taken.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.limits.max_grpc_bytes),
        ("grpc.max_send_message_length", settings.limits.max_grpc_bytes),
        ("grpc.max_concurrent_streams", 100),
        # What a client may send before its message is asked for: 64 KiB for each call. gRPC would let that grow to
        # megabytes where the connection is fast. A message that is being read gets all the room that it needs.
        ("grpc.http2.bdp_probe", 0),
        *_keepalive(CLIENT_SILENT, CLIENT_PING),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", round(1e3 * CLIENTS_MAY_PING)),
        ("grpc.max_connection_age_ms", round(1e3 * CONNECTION_AGE)),
        ("grpc.max_connection_age_grace_ms", round(1e3 * CONNECTION_GRACE)),
        ("grpc.max_connection_idle_ms", round(1e3 * CLIENT_IDLE)),
    ]


def worker_options() -> Options:
    """Of the server that gateways talk to."""
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MOST_INTERNAL_BYTES),
        ("grpc.max_send_message_length", MOST_INTERNAL_BYTES),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", round(1e3 * WORKER_PING)),
    ]


def gateway_options() -> Options:
    """Of a gateway's connection to one worker."""
    return [
        ("grpc.max_receive_message_length", MOST_INTERNAL_BYTES),
        ("grpc.max_send_message_length", MOST_INTERNAL_BYTES),
        *_keepalive(WORKER_SILENT, WORKER_PING),
        # A worker that returns is used within a second or so.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.use_local_subchannel_pool", 1),  # a worker that is gone for ever leaves nothing behind
        ("grpc.enable_retries", 0),  # the gateway's business
        ("grpc.enable_http_proxy", 0),  # of the environment: it is for the world, not for the cluster
    ]


def _keepalive(silent: float, ping: float) -> Options:
    return [
        ("grpc.keepalive_time_ms", round(1e3 * silent)),
        ("grpc.keepalive_timeout_ms", round(1e3 * ping)),
        # Of both times the longer one counts, and this one is a minute by default.
        ("grpc.http2.ping_timeout_ms", round(1e3 * ping)),
        ("grpc.http2.max_pings_without_data", 0),
    ]
