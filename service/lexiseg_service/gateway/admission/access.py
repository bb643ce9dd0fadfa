"""Admission of a gateway's callers, for all protocols: API key, limits of the client, bytes and calls in flight.

Only the SHA-256 of a key is stored. A key is 256 random bits, so a plain digest is as safe as a slow one. A line of the
key file names the key's scopes (none: all of them) and may set limits for only this key.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

import structlog

from lexiseg_service.errors import InvalidValue, MalformedRequest, NotAllowed, Unauthorized
from lexiseg_service.gateway.admission.limits import ClientLimits, RedisLimits, Rule, client_of
from lexiseg_service.redis_link import open_link
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE, Shares
from lexiseg_service.watch.metrics import Metrics

# Requests of REST and calls of gRPC at a time. Fewer than the edge lets through to one gateway: beyond them a client is
# refused by its own share, not by a queue that all clients wait in.
MAX_CALLS = 800
MAX_STREAMS = 1000  # over REST, where frames are requests of their own
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
HEADERS = ("authorization", "x-api-key")  # that may carry a key
DIGEST = re.compile(r"[0-9a-fA-F]{64}")
PREFIX = "lexiseg_"  # lets scanners recognise a leaked key
MAX_QUOTA = 1e9
REALM = 'Bearer realm="lexiseg"'
Scope = Literal["segment", "vocabularies", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ALL: frozenset[Scope] = frozenset(SCOPES)
FILE = "LEXISEG_API_KEYS_FILE"
QUOTAS: dict[str, Callable[[str], float]] = {"rate": float, "burst": int, "concurrent": int, "daily": int}
A_LINE = (
    "lines `ID SHA256`, optionally followed by `SCOPE+SCOPE` of segment, vocabularies, admin, and by `NAME=NUMBER` of "
    "rate, burst, concurrent, daily; see `lexiseg keys new`"
)
T = TypeVar("T")
logger = structlog.get_logger("lexiseg.files")
CHECK_SECONDS = 1.0
MAX_FILE_BYTES = 16 * 2**20


class WatchedFile(Generic[T]):
    """The content of a file, checked for changes at most once a second, when it is asked for.

    A file that was written within the last second may be incomplete: it is read at a later check, when it has not
    changed since. A file that disappears or cannot be parsed is logged once, and the previous content stays.

    Args:
        what: the name of the content in log messages.
        path: of the file; None: there is none, and the content stays.
        parse: reads and parses it; raises InvalidValue, OSError or UnicodeDecodeError.
        content: what was parsed at the start.
    """

    def __init__(self, what: str, path: Path | None, parse: Callable[[], T], content: T) -> None:
        self._what = what
        self._path = path
        self._parse = parse
        self._content = content
        self._read_version = self._last_version = _version(path)
        self._checked = time.monotonic()

    @property
    def content(self) -> T:
        """The newest content that could be parsed."""
        if self._path is not None and time.monotonic() - self._checked >= CHECK_SECONDS:
            self._check(self._path)
        return self._content

    def _check(self, path: Path) -> None:
        self._checked = time.monotonic()
        version, previous = _version(path), self._last_version
        self._last_version = version
        if version == self._read_version or (version != previous and _is_recent(version)):
            return
        self._read_version = version
        try:
            if version is not None and (not path.is_file() or version[2] > MAX_FILE_BYTES):  # a pipe would block
                raise InvalidValue(f"expected a file of at most {MAX_FILE_BYTES:,} bytes")
            self._content = self._parse()
        except (InvalidValue, OSError, UnicodeDecodeError) as error:
            logger.error(f"{self._what} cannot be read; the previous content stays", path=str(path), error=str(error))
            return
        logger.info(f"{self._what} read again", path=str(path))


def _version(path: Path | None) -> tuple[int, int, int] | None:
    """Modification time (ns), inode and size: they change with the content, also when a symbolic link is replaced."""
    try:
        stat = None if path is None else os.stat(path)
    except OSError:
        return None
    return None if stat is None else (stat.st_mtime_ns, stat.st_ino, stat.st_size)


def _is_recent(version: tuple[int, int, int] | None) -> bool:
    return version is not None and time.time() - version[0] / 1e9 < CHECK_SECONDS


class Entry(NamedTuple):
    """A known key."""

    identity: str
    digest: bytes
    scopes: frozenset[Scope]
    quotas: tuple[tuple[str, float], ...] = ()  # limits of this key by name, above 0


class Keys:
    """The valid keys, reloaded when the key file changes. If none is configured, requests need no key.

    Raises:
        InvalidValue: at the start, a line is not as expected, a source contains no key, or the file cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        entries = _read(settings)
        self._file = WatchedFile("API keys", settings.api_keys_file, lambda: _read(settings), entries)
        self.are_required = bool(entries)  # never changes: a reloaded file without keys is rejected

    def identify(self, key: str | None, scope: Scope = "segment") -> str | None:
        """The id of a key that has the scope; None if requests need no key.

        Raises:
            Unauthorized: the key is missing or unknown.
            NotAllowed: the key is known and lacks the scope.
        """
        if not self.are_required:
            return None
        if not key:
            raise Unauthorized("send an API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`", REALM)
        digest = _digest(key)
        matched: Entry | None = None
        # Compare with every entry in constant time: the duration must reveal nothing about the keys.
        for entry in self._file.content:
            if hmac.compare_digest(digest, entry.digest):
                matched = entry
        if matched is None:
            raise Unauthorized("the API key is not known here", f'{REALM}, error="invalid_token"')
        if scope not in matched.scopes:
            scopes = ", ".join(sorted(matched.scopes))
            raise NotAllowed(f"the key {matched.identity} has the scopes {scopes}; this needs the scope {scope}")
        return matched.identity

    def may(self, identity: str, scope: Scope) -> bool:
        """Whether the key of that id has a scope."""
        return any(entry.identity == identity and scope in entry.scopes for entry in self._file.content)

    def rule(self, identity: str, common: Rule) -> Rule:
        """The limits of a key: its own where it has some, else the common ones."""
        entries = self._file.content
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
        """A caller with its key, if keys are needed, and the client that it counts for.

        Raises:
            Unauthorized: the key is missing or unknown.
            NotAllowed: the key is known and lacks the scope.
        """
        key_id = self.keys.identify(key, scope)
        admin = key_id is not None and self.keys.may(key_id, "admin")
        return replace(caller, owner=key_id or "", client=client_of(key_id, address), admin=admin)

    @classmethod
    def of_settings(cls, settings: Settings, metrics: Metrics, limits: ClientLimits | None = None) -> AccessControl:
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
    """Refuse repeated headers or metadata, which a proxy and this server might read differently.

    Raises:
        MalformedRequest: one of `names` that is in `single` is repeated.
    """
    for name, n in Counter(name for name in names if name in single).items():
        if n > 1:
            raise MalformedRequest(f"`{name}` came {n} times; expected once at most")


def scope_of(method: str, path: str) -> Scope:
    """The scope that an HTTP request needs."""
    if path == "/metrics":
        return "admin"
    # A training takes the machine for long, and adds a model for all.
    if path.removeprefix("/v1").startswith("/trainings"):
        return "admin"
    # Label Studio's events teach the heads of projects.
    if method == "POST" and path.removeprefix("/v1") in ("/heads", "/adapters/label-studio/webhook"):
        return "vocabularies"
    # Streams and jobs belong to the key that began them.
    if path.removeprefix("/v1").startswith(("/streams/", "/jobs/")):
        return "segment"
    return "vocabularies" if method in ("PUT", "PATCH", "DELETE") else "segment"


def new_key() -> str:
    """A new random key."""
    return PREFIX + secrets.token_urlsafe(32)


def line_of(identity: str, key: str, scopes: Sequence[str] = (), limits: Sequence[str] = ()) -> str:
    """The line of the key file for a key, with its scopes and its own limits (`rate=5`).

    Raises:
        InvalidValue: the id, a scope or a limit is not as expected.
    """
    if not ID.fullmatch(identity):
        raise InvalidValue.of(
            "ID", identity, "1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit"
        )
    if scopes and _scopes("+".join(scopes)) is None:
        raise InvalidValue.of("scope", " ".join(scopes), ", ".join(SCOPES))
    if _quotas(limits) is None:
        raise InvalidValue.of("limit", " ".join(limits), f"NAME=NUMBER, above 0, of {', '.join(QUOTAS)}")
    return " ".join([identity, _digest(key).hex(), *(["+".join(scopes)] if scopes else []), *limits])


def _read(settings: Settings) -> tuple[Entry, ...]:
    """The keys of `LEXISEG_API_KEYS_FILE` and `LEXISEG_API_KEYS` together."""
    entries: list[Entry] = []
    if (path := settings.api_keys_file) is not None:
        try:
            entries += _entries(FILE, path.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise InvalidValue.of(FILE, str(path), f"a readable file ({error.strerror})") from None
    if settings.api_keys is not None:
        entries += _entries("LEXISEG_API_KEYS", settings.api_keys.get_secret_value().replace(",", "\n"))
    return tuple(entries)


def _entries(source: str, text: str) -> list[Entry]:
    entries: list[Entry] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        named = [word for word in words[2:] if "=" not in word]
        scopes = _scopes(named[0]) if len(named) == 1 else ALL
        quotas = _quotas([word for word in words[2:] if "=" in word])
        fits = len(words) > 1 and len(named) < 2 and ID.fullmatch(words[0]) and DIGEST.fullmatch(words[1])
        if not fits or scopes is None or quotas is None:
            # The line is not quoted: it may be a key by mistake.
            raise InvalidValue.of(source, f"something else in line {number}", A_LINE)
        entries.append(Entry(words[0], bytes.fromhex(words[1]), scopes, quotas))
    if not entries:
        raise InvalidValue.of(source, "no key", "at least one line `ID SHA256`, or the setting left out")
    if len({entry.digest for entry in entries}) < len(entries):
        raise InvalidValue.of(source, "one SHA256 twice", "a key for each id")
    if len({(entry.identity, entry.quotas) for entry in entries}) > len({entry.identity for entry in entries}):
        raise InvalidValue.of(source, "one id with different limits", "the same limits in all lines of an id")
    return entries


def _scopes(word: str) -> frozenset[Scope] | None:
    """Scopes as `segment+vocabularies`; None if one is unknown."""
    named = frozenset(scope for scope in SCOPES if scope in word.split("+"))
    if len(named) < len(word.split("+")):
        return None
    return ALL if "admin" in named else named


def _quotas(words: Sequence[str]) -> tuple[tuple[str, float], ...] | None:
    """Limits as `rate=5`, by name; None if one is unknown, repeated, or not above 0."""
    quotas: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            number = QUOTAS[name](value)
        except (KeyError, ValueError):
            return None
        if name in quotas or not 0 < number <= MAX_QUOTA:
            return None
        quotas[name] = number
    return tuple(sorted(quotas.items()))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
