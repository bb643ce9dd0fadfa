"""API keys, for every protocol of the gateway. Only their SHA-256 is kept: whoever reads the file cannot ask with it.

A key is 256 random bits, so a plain digest is as good as a slow one: there is nothing to guess. What it may do are its
scopes; without any it may do everything. How much, are the limits of every client, or its own.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from lexiseg_service.errors import InvalidValue, NotAllowed, Unauthorized
from lexiseg_service.gateway.admission.limits import Rule
from lexiseg_service.settings import Settings

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DIGEST = re.compile(r"[0-9a-fA-F]{64}")
PREFIX = "lexiseg_"  # lets scanners of leaked secrets find one
MOST = 1e9  # of any limit
REALM = 'Bearer realm="lexiseg"'
Scope = Literal["segment", "vocabularies", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ALL: frozenset[Scope] = frozenset(SCOPES)
FILE = "LEXISEG_API_KEYS_FILE"
QUOTAS: dict[str, Callable[[str], float]] = {"rate": float, "burst": int, "concurrent": int, "daily": int}
A_LINE = (
    "lines `ID SHA256`, behind it `SCOPE+SCOPE` of segment, vocabularies, admin, and `NAME=NUMBER` of rate, burst, "
    "concurrent, daily, each if you like; see `lexiseg keys new`"
)


class Entry(NamedTuple):
    """A known key."""

    identity: str
    digest: bytes
    scopes: frozenset[Scope]
    quotas: tuple[tuple[str, float], ...] = ()  # by name, above 0: what of a client's limits is this key's own


@dataclass(frozen=True)
class KeyRing:
    """Known keys; with none of them, everybody may ask."""

    entries: tuple[Entry, ...] = field(default=(), repr=False)

    @property
    def needed(self) -> bool:
        """Whether a request needs a key."""
        return bool(self.entries)

    def identify(self, key: str | None, scope: Scope = "segment") -> str | None:
        """The id of a key that may do what is asked; None where none is needed.

        Raises:
            Unauthorized: the key is missing or unknown.
            NotAllowed: it is known, and has other scopes.
        """
        if not self.needed:
            return None
        if not key:
            raise Unauthorized("send an API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`", REALM)
        digest = _digest(key)
        matched: Entry | None = None
        # Every entry is compared, each in constant time: the time says nothing of which one is near.
        for entry in self.entries:
            if hmac.compare_digest(digest, entry.digest):
                matched = entry
        if matched is None:
            raise Unauthorized("the API key is not known here", f'{REALM}, error="invalid_token"')
        if scope not in matched.scopes:
            had = ", ".join(sorted(matched.scopes))
            raise NotAllowed(f"the key {matched.identity} may {had}; this needs the scope {scope}")
        return matched.identity

    def may(self, identity: str, scope: Scope) -> bool:
        """Whether a key of that id has a scope."""
        return any(entry.identity == identity and scope in entry.scopes for entry in self.entries)

    def rule(self, identity: str, common: Rule) -> Rule:
        """The limits of a key: its own, and of those that it has none, the common ones."""
        quotas: dict[str, Any] = next((dict(entry.quotas) for entry in self.entries if entry.identity == identity), {})
        if "rate" in quotas and "burst" not in quotas:
            quotas["burst"] = max(1, math.ceil(quotas["rate"]))
        return replace(common, **quotas)


def key_of(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key in a request's headers or metadata; a Bearer token goes before `X-API-Key`."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return (x_api_key or "").strip() or None


def scope_of(method: str, path: str) -> Scope:
    """The scope that a request over HTTP needs."""
    if path == "/metrics":
        return "admin"
    if path.removeprefix("/v1").startswith("/streams/"):  # to end one is not to change what is kept
        return "segment"
    return "vocabularies" if method in ("PUT", "PATCH", "DELETE") else "segment"


def read_keys(settings: Settings) -> KeyRing:
    """The keys of `LEXISEG_API_KEYS_FILE` and `LEXISEG_API_KEYS` together.

    Raises:
        InvalidValue: a line is not `ID HASH`, a source that is set holds no key, or the file cannot be read.
    """
    sources = []
    if settings.api_keys_file is not None:
        sources.append((FILE, _text(settings.api_keys_file)))
    if settings.api_keys is not None:
        sources.append(("LEXISEG_API_KEYS", settings.api_keys.get_secret_value().replace(",", "\n")))
    return KeyRing(tuple(entry for name, text in sources for entry in _entries(name, text)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidValue.of(FILE, str(path), f"a file that can be read ({error.strerror})") from None


def new_key() -> str:
    """A key that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(32)


def line_of(identity: str, key: str, scopes: Sequence[str] = (), limits: Sequence[str] = ()) -> str:
    """The line that lets a key in, to everything or to what the scopes say, within limits of its own (`rate=5`).

    Raises:
        InvalidValue: the id, a scope or a limit is none.
    """
    if not ID.fullmatch(identity):
        raise InvalidValue.of("ID", identity, "1 to 64 letters, digits, '.', '_' or '-', a letter or digit first")
    if scopes and _scopes("+".join(scopes)) is None:
        raise InvalidValue.of("scope", " ".join(scopes), ", ".join(SCOPES))
    if _quotas(limits) is None:
        raise InvalidValue.of("limit", " ".join(limits), f"NAME=NUMBER, above 0, of {', '.join(QUOTAS)}")
    return " ".join([identity, _digest(key).hex(), *(["+".join(scopes)] if scopes else []), *limits])


def _entries(source: str, text: str) -> list[Entry]:
    entries: list[Entry] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        # The line itself is not shown: it may be a key by mistake.
        named = [word for word in words[2:] if "=" not in word]
        scopes = _scopes(named[0]) if len(named) == 1 else ALL
        quotas = _quotas([word for word in words[2:] if "=" in word])
        fits = len(words) > 1 and len(named) < 2 and ID.fullmatch(words[0]) and DIGEST.fullmatch(words[1])
        if not fits or scopes is None or quotas is None:
            raise InvalidValue.of(source, f"something else in line {number}", A_LINE)
        entries.append(Entry(words[0], bytes.fromhex(words[1]), scopes, quotas))
    if not entries:
        # Open to everybody, or closed to everybody? Neither is what its owner wants.
        raise InvalidValue.of(source, "no key", "at least one line `ID SHA256`, or the setting left out")
    if len({entry.digest for entry in entries}) < len(entries):
        raise InvalidValue.of(source, "one SHA256 twice", "a key for each id")
    if len({(entry.identity, entry.quotas) for entry in entries}) > len({entry.identity for entry in entries}):
        raise InvalidValue.of(source, "one id with different limits", "the same limits in all lines of an id")
    return entries


def _scopes(word: str) -> frozenset[Scope] | None:
    """Scopes as `segment+vocabularies`, parted so because commas part lines; None where one is none of ours."""
    named = frozenset(scope for scope in SCOPES if scope in word.split("+"))
    if len(named) < len(word.split("+")):
        return None
    return ALL if "admin" in named else named


def _quotas(words: Sequence[str]) -> tuple[tuple[str, float], ...] | None:
    """Limits as `rate=5`, by name; None where one is none of ours, given twice, or not above 0."""
    quotas: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            number = QUOTAS[name](value)
        except (KeyError, ValueError):
            return None
        if name in quotas or not 0 < number <= MOST:
            return None
        quotas[name] = number
    return tuple(sorted(quotas.items()))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
