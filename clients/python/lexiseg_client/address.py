"""Parse a server's address (URL or HOST:PORT) and build the headers of every request: API key, user agent."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Literal
from urllib.parse import quote, urlsplit

import httpx

WHITESPACE = re.compile(r"\s")
PRINTABLE = re.compile(r"[!-~]+")
KEY_VARIABLE = "LEXISEG_API_KEY"
URL_VARIABLE = "LEXISEG_BASE_URL"
DEFAULT_URL = "http://localhost:8000"
GRPC_PORT = 50051
PREFIX = "/v1"  # of routes: the stable API version
EXPECTED = "an address like http://localhost:8000, or HOST:PORT of gRPC like localhost:50051"
HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/?#@\[\]]+):[0-9]{1,5}")
SCHEMES = {"http": False, "https": True, "grpc": False, "grpcs": True}  # True: TLS

PACKAGES = ("lexiseg", "lexiseg-client")  # installed inside the service, or by itself, which counts

__version__ = "0+unknown"  # a source tree that is not installed
for package in PACKAGES:
    with suppress(PackageNotFoundError):
        __version__ = version(package)
USER_AGENT = f"lexiseg-client/{__version__} python/{platform.python_version()}"


@dataclass(frozen=True)
class Address:
    """One server. `url` has no trailing slash; `target` is HOST:PORT for gRPC."""

    url: str
    protocol: Literal["rest", "grpc"]
    target: str
    secure: bool
    headers: Mapping[str, str] = field(repr=False)  # holds the key
    is_target_guessed: bool = False  # the server says its port of gRPC

    def with_grpc_port(self, port: int) -> Address:
        host = self.target.rpartition(":")[0]
        return replace(self, target=f"{host}:{port}", is_target_guessed=False)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers as gRPC's metadata, with names in lower case."""
        return tuple((name.lower(), value) for name, value in self.headers.items())


def read_address(url: str | None, target: str | None, api_key: str | None) -> Address:
    """Parse and validate a server's address, as `Client` takes it; the `/v1` of a route is left out.

    Raises TypeError, ValueError: an invalid address or key, or an address with a password; neither is in the message.
    """
    if url is None:
        url = os.environ.get(URL_VARIABLE) or DEFAULT_URL
    for name, text in (("url", url), ("grpc_target", target), ("api_key", api_key)):
        if not isinstance(text, str | None):
            raise TypeError(f"{name}: expected a str, got {type(text).__name__}")
    url = url.rstrip("/").removesuffix(PREFIX).rstrip("/")
    if HOST_PORT.fullmatch(url):
        url = f"grpc://{url}"
    try:
        parts = urlsplit(url)
        port = parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        raise ValueError(f"expected {EXPECTED}, got {url!r}") from None
    if parts.scheme not in SCHEMES or not parts.hostname or parts.query or parts.fragment or WHITESPACE.search(url):
        raise ValueError(f"expected {EXPECTED}, got {url!r}")
    if target is not None and urlsplit(target).scheme in SCHEMES:
        raise ValueError(f"expected a grpc_target like localhost:50051, got {target!r}")
    if parts.username or parts.password:
        raise ValueError("expected an address without a user name or password; a key goes into api_key")
    is_grpc = parts.scheme.startswith("grpc")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = port if is_grpc and port is not None else GRPC_PORT
    return Address(
        url=url,
        protocol="grpc" if is_grpc else "rest",
        target=target or f"{host}:{port}",
        secure=SCHEMES[parts.scheme],
        is_target_guessed=not is_grpc and target is None,
        headers=_key_headers(api_key if api_key is not None else os.environ.get(KEY_VARIABLE)),
    )


def path_of(route: str, name: str) -> str:
    return f"{route}/{quote(name, safe='')}"


def _key_headers(key: str | None) -> dict[str, str]:
    if not key:
        return {}
    if not PRINTABLE.fullmatch(key):
        raise ValueError(f"api_key (or {KEY_VARIABLE}): expected printable characters without blanks")
    return {"Authorization": f"Bearer {key}"}
