"""Admission of a gateway's callers, for all protocols: API key, limits of the client, bytes and calls in flight."""

from __future__ import annotations

import hmac
import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from lexiseg_service.errors import MalformedRequest, NotAllowed, Unauthorized
from lexiseg_service.gateway.admission.key_file import Entry, Scope, WatchedKeys, digest_of
from lexiseg_service.gateway.admission.limits import ClientLimits, Rule, client_of
from lexiseg_service.gateway.admission.redis_limits import RedisLimits
from lexiseg_service.redis_link import open_link
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE, Shares
from lexiseg_service.watch.metrics import Metrics

# Requests of REST and calls of gRPC at a time. Fewer than the edge lets through to one gateway: beyond them a client is
# refused by its own share, not by a queue that all clients wait in.
MAX_CALLS = 800
MAX_STREAMS = 1000  # over REST, where frames are requests of their own
HEADERS = ("authorization", "x-api-key")  # that may carry a key
REALM = 'Bearer realm="lexiseg"'


class Keys:
    """The valid keys, reloaded when the key file changes. If none is configured, requests need no key."""

    def __init__(self, settings: Settings) -> None:
        self._keys = WatchedKeys(settings)
        self.are_required = bool(self._keys.entries)  # never changes: a reloaded file without keys is rejected

    def identify(self, key: str | None, scope: Scope = "segment") -> str | None:
        """The id of a key that has the scope; None if requests need no key."""
        if not self.are_required:
            return None
        if not key:
            raise Unauthorized("send an API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`", REALM)
        digest = digest_of(key)
        matched: Entry | None = None
        # Compare with every entry in constant time: the duration must reveal nothing about the keys.
        for entry in self._keys.entries:
            if hmac.compare_digest(digest, entry.digest):
                matched = entry
        if matched is None:
            raise Unauthorized("the API key is not known here", f'{REALM}, error="invalid_token"')
        if scope not in matched.scopes:
            scopes = ", ".join(sorted(matched.scopes))
            raise NotAllowed(f"the key {matched.identity} has the scopes {scopes}; this needs the scope {scope}")
        return matched.identity

    def may(self, identity: str, scope: Scope) -> bool:
        return any(entry.identity == identity and scope in entry.scopes for entry in self._keys.entries)

    def rule(self, identity: str, common: Rule) -> Rule:
        """The limits of a key: its own where it has some, else the common ones."""
        entries = self._keys.entries
        quotas: dict[str, Any] = next((dict(entry.quotas) for entry in entries if entry.identity == identity), {})
        if "rate" in quotas and "burst" not in quotas:
            quotas["burst"] = max(1, math.ceil(quotas["rate"]))
        return replace(common, **quotas)


@dataclass(frozen=True)
class Caller:
    """The sender of a request, by any protocol."""

    owner: str = ""  # id of the API key
    client: str = ""  # key or address, as limits and the worker's queue count it
    request_id: str = ""
    traceparent: str | None = None
    seconds: float = float("inf")  # until the caller's own deadline
    background: bool = False  # its requests are served when no others wait
    admin: bool = False  # may change the vocabularies that other keys share

    @property
    def key_id(self) -> str | None:
        """The owner, for logs; None without a key."""
        return self.owner or None


@dataclass(frozen=True)
class AccessControl:
    """API keys, limits and shares of a gateway; one for all protocols, so that they count together."""

    keys: Keys
    limits: ClientLimits
    bytes: Shares  # of bodies and messages, from before they are read until they are answered
    fetched: Shares  # bytes of images by URL, likewise
    calls: Shares  # of gRPC, and requests of REST
    streams: Shares  # of REST

    def identified(self, caller: Caller, key: str | None, address: str | None, scope: Scope = "segment") -> Caller:
        """A caller with its key, if keys are needed, and the client that it counts for."""
        key_id = self.keys.identify(key, scope)
        admin = key_id is not None and self.keys.may(key_id, "admin")
        return replace(caller, owner=key_id or "", client=client_of(key_id, address), admin=admin)

    @classmethod
    def of_settings(cls, settings: Settings, metrics: Metrics, limits: ClientLimits | None = None) -> AccessControl:
        """The access control of the settings; `limits` replaces the settings' own."""
        keys = Keys(settings)
        access = cls(
            keys,
            limits or _limits(settings, metrics, keys),
            Shares("bytes of requests", settings.max_bytes_in_flight, CLIENT_SHARE),
            Shares("bytes of images by URL", settings.max_bytes_in_flight // 2, CLIENT_SHARE),
            Shares("requests and calls", MAX_CALLS, CLIENT_SHARE),
            Shares("streams", MAX_STREAMS, CLIENT_SHARE),
        )
        metrics.watch_cache("clients", lambda: access.limits.nbytes)
        metrics.watch_cache("requests", lambda: access.bytes.in_use)
        metrics.watch_cache("fetched", lambda: access.fetched.in_use)
        return access


def _limits(settings: Settings, metrics: Metrics, keys: Keys) -> ClientLimits:
    common = Rule.from_settings(settings)

    def rule_of(client: str) -> Rule:
        kind, _, identity = client.partition(":")
        return keys.rule(identity, common) if kind == "key" else common

    if settings.redis_url is None or not (common.is_on or keys.are_required):
        return ClientLimits(rule_of)
    # A lease outlasts any request for one image; streams' are renewed.
    return RedisLimits(rule_of, open_link(settings, "limits", metrics), max(60.0, 2 * settings.deadline_seconds))


def key_of(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key in the headers or metadata of a request; a Bearer token takes precedence over `X-API-Key`."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return (x_api_key or "").strip() or None


def refuse_repeated(names: Iterable[str], single: Collection[str]) -> None:
    """Refuse repeated headers or metadata, which a proxy and this server might read differently."""
    for name, n in Counter(name for name in names if name in single).items():
        if n > 1:
            raise MalformedRequest(f"`{name}` came {n} times; expected once at most")


def scope_of(method: str, path: str) -> Scope:
    plain = path.removeprefix("/v1")
    # A training takes the machine for long, and adds a model for all.
    if path == "/metrics" or plain.startswith("/trainings"):
        return "admin"
    # Label Studio's events teach the heads of projects.
    if method == "POST" and plain in ("/heads", "/adapters/label-studio/webhook"):
        return "vocabularies"
    # Streams and jobs belong to the key that began them.
    is_own = plain.startswith(("/streams/", "/jobs/"))
    return "vocabularies" if method in ("PUT", "PATCH", "DELETE") and not is_own else "segment"
