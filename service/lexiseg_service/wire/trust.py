"""Authentication between gateway and worker: a token, mutual TLS, both, or nothing in a trusted network.

    gateway: certificate and token -> checked by the worker
    worker: certificate            -> checked by the gateway

One private authority signs both certificates. The files are read once, at the start.
"""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings
from lexiseg_service.wire.server import Context, Handler

TOKEN = "x-lexiseg-token"
WORKER_NAME = "lexiseg-worker"  # DNS name in the certificate of every worker
GUARDED = "/lexiseg."  # our services; health probes have no token
SETTING = "--worker-tls / LEXISEG_WORKER_TLS"
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Identity:
    """PEM texts: the authority, and the certificate chain and key of one side."""

    authority: bytes
    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Trust:
    identity: Identity | None = None
    token: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Trust:
        token = None if settings.worker_token is None else settings.worker_token.get_secret_value()
        return cls(_identity(settings), token)

    @property
    def metadata(self) -> Metadata:
        return () if self.token is None else ((TOKEN, self.token),)

    def channel(self, address: str, options: list[tuple[str, int | str]]) -> grpc.aio.Channel:
        """A gateway's channel to HOST:PORT."""
        if self.identity is None:
            return grpc.aio.insecure_channel(address, options=options)
        credentials = grpc.ssl_channel_credentials(
            self.identity.authority, self.identity.key, self.identity.certificate
        )
        # Workers are found by address; their certificates share a DNS name.
        named = ("grpc.ssl_target_name_override", WORKER_NAME)
        return grpc.aio.secure_channel(address, credentials, options=[*options, named])

    @property
    def server_credentials(self) -> grpc.ServerCredentials | None:
        """Credentials of a worker's server; None accepts any connection."""
        if self.identity is None:
            return None
        return grpc.ssl_server_credentials(
            [(self.identity.key, self.identity.certificate)],
            root_certificates=self.identity.authority,
            require_client_auth=True,
        )

    @property
    def interceptors(self) -> tuple[grpc.aio.ServerInterceptor, ...]:
        return () if self.token is None else (TokenCheck(self.token),)


class TokenCheck(grpc.aio.ServerInterceptor):
    """Refuses calls without the token, before their message is read."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        if not details.method.startswith(GUARDED):
            return await continuation(details)
        token = dict(details.invocation_metadata or ()).get(TOKEN, "")
        if isinstance(token, str) and hmac.compare_digest(token.encode(), self._token):
            return await continuation(details)
        return grpc.stream_stream_rpc_method_handler(_refuse)


async def _refuse(_: Any, context: Context) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the worker's token is missing or another one")


def _identity(settings: Settings) -> Identity | None:
    """Read and check the files; with a bad one gRPC would only report failed connections."""
    folder = settings.worker_tls
    if folder is None:
        return None
    authority, certificate, key = (folder / name for name in ("ca.crt", "tls.crt", "tls.key"))
    contents = [_content(path) for path in (authority, certificate, key)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(cadata=contents[0].decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise InvalidValue.of(SETTING, str(authority), "certificates in PEM") from None
    try:
        context.load_cert_chain(str(certificate), str(key), password="")
    except (ssl.SSLError, OSError):
        expected = f"a certificate in PEM, and in {key} its key without a passphrase"
        raise InvalidValue.of(SETTING, str(certificate), expected) from None
    return Identity(*contents)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidValue.of(SETTING, str(path), f"a file {path.name} that can be read ({error.strerror})") from None
