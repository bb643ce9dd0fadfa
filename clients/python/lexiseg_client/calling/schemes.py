"""Recognise a port that speaks another protocol than the address says; retries would not help."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from lexiseg_client.address import GRPC_PORT, Address
from lexiseg_client.errors import WrongScheme

PROBE_TIMEOUT = 1.0  # seconds
SPEAKS = {"http": "HTTP without TLS", "https": "HTTP with TLS", "grpc": "gRPC without TLS", "grpcs": "gRPC with TLS"}
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # an empty frame of HTTP/2
HTTP = b"OPTIONS * HTTP/1.1\r\nHost: lexiseg\r\nConnection: close\r\n\r\n"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS


def refuse_wrong_scheme(address: Address) -> None:
    """Ask the port of an address, to which a connection failed, what it speaks.

    Raises:
        WrongScheme: it is not what the address says; the message has the right one.
    """
    parts = urlsplit(address.url)
    is_grpc = address.protocol == "grpc"
    default = GRPC_PORT if is_grpc else 443 if address.secure else 80
    host, port = parts.hostname or "", parts.port or default
    try:
        actual = _with_tls(host, port, is_grpc) or _without_tls(host, port, is_grpc)
    except OSError:
        return  # nobody is there
    if actual not in (None, parts.scheme):
        place = parts.netloc if parts.port is not None else f"{parts.netloc}:{port}"
        right = f"{actual}://{place}{parts.path}"
        raise WrongScheme(f"{place} speaks {SPEAKS[actual or '']}: write {right}, not {address.url}", is_sent=False)


def _with_tls(host: str, port: int, is_grpc: bool) -> str | None:
    """https or grpcs if the port shakes hands by TLS; certificates are not looked at, and nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if is_grpc:
        context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, port), PROBE_TIMEOUT) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=host) as shaken:
                speaks_grpc = shaken.selected_alpn_protocol() == "h2" or (port == GRPC_PORT and not is_grpc)
        except (OSError, ValueError):
            return None
    return "grpcs" if speaks_grpc else "https"


def _without_tls(host: str, port: int, is_grpc: bool) -> str | None:
    """http or grpc by the first bytes of the answers to their openings, the address's own first; None if neither."""
    for opening in (HTTP2, HTTP) if is_grpc else (HTTP, HTTP2):
        with socket.create_connection((host, port), PROBE_TIMEOUT) as connection:
            connection.sendall(opening)
            answer = connection.recv(len(SETTINGS))
        if answer.startswith(b"HTTP/"):
            return "http"
        if answer[3:4] == SETTINGS[3:4]:  # the type of the frame
            return "grpc"
    return None
