"""Admission of a gateway's callers, for all protocols: API key, limits of the client, bytes and calls in flight."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lexiseg_service.gateway.admission.keys import Keys, Scope
from lexiseg_service.gateway.admission.limits import ClientLimits, RedisLimits, Rule, client_of
from lexiseg_service.redis_link import open_link
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE, Shares
from lexiseg_service.watch.metrics import Metrics

# Requests of REST and calls of gRPC at a time. Fewer than the edge lets through to one gateway: beyond them a client is
# refused by its own share, not by a queue that all clients wait in.
MAX_CALLS = 800
MAX_STREAMS = 1000  # over REST, whose frames are requests of their own


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
        """A caller with its key, if keys are needed, and the client that it counts for.

        Raises:
            Unauthorized: the key is missing or unknown.
            NotAllowed: the key is known and lacks the scope.
        """
        key_id = self.keys.identify(key, scope)
        admin = key_id is not None and self.keys.may(key_id, "admin")
        return replace(caller, owner=key_id or "", client=client_of(key_id, address), admin=admin)

    @classmethod
    def of(cls, settings: Settings, metrics: Metrics, limits: ClientLimits | None = None) -> AccessControl:
        """The access control of the settings; `limits` replaces the settings' own.

        Raises:
            InvalidValue: the API keys are not as expected.
        """
        keys = Keys(settings)
        access = cls(
            keys,
            limits or _limits(settings, metrics, keys),
            Shares("bytes of requests", settings.max_bytes_in_flight, CLIENT_SHARE),
            Shares("bytes of images by URL", settings.max_bytes_in_flight // 2, CLIENT_SHARE),
            Shares("requests and calls", MAX_CALLS, CLIENT_SHARE),
            Shares("streams", MAX_STREAMS, CLIENT_SHARE),
        )
        metrics.held("clients", lambda: access.limits.nbytes)
        metrics.held("requests", lambda: access.bytes.in_use)
        metrics.held("fetched", lambda: access.fetched.in_use)
        return access


def _limits(settings: Settings, metrics: Metrics, keys: Keys) -> ClientLimits:
    common = Rule.of(settings)

    def rule_of(client: str) -> Rule:
        kind, _, identity = client.partition(":")
        return keys.rule(identity, common) if kind == "key" else common

    if settings.redis_url is None or not (common.is_on or keys.needed):
        return ClientLimits(rule_of)
    # A lease outlasts any request for one image; those of streams are renewed.
    return RedisLimits(rule_of, open_link(settings, "limits", metrics), max(60.0, 2 * settings.deadline_seconds))
