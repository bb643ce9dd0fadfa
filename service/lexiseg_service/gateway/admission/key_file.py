"""API keys in files and settings: lines `ID SHA256`, with scopes and limits.

Only the SHA-256 of a key is stored. A key is 256 random bits, so a plain digest is as safe as a slow one. A line names
the key's scopes (none: all of them) and may set limits for only this key.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import structlog

from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DIGEST = re.compile(r"[0-9a-fA-F]{64}")
PREFIX = "lexiseg_"  # lets scanners recognise a leaked key
MAX_QUOTA = 1e9
Scope = Literal["segment", "vocabularies", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ALL: frozenset[Scope] = frozenset(SCOPES)
FILE = "LEXISEG_API_KEYS_FILE"
QUOTAS: dict[str, Callable[[str], float]] = {"rate": float, "burst": int, "concurrent": int, "daily": int}
A_LINE = (
    "lines `ID SHA256`, optionally followed by `SCOPE+SCOPE` of segment, vocabularies, admin, and by `NAME=NUMBER` of "
    "rate, burst, concurrent, daily; see `lexiseg keys new`"
)
logger = structlog.get_logger("lexiseg.files")
CHECK_SECONDS = 1.0
MAX_FILE_BYTES = 16 * 2**20


class WatchedKeys:
    """The keys of the settings; their file is looked at for changes at most once a second.

    A file that was written just now is read a look later; one that is gone or wrong is logged once, and the previous
    keys stay.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entries = read_keys(settings)
        self._read_version = self._last_version = _version(settings.api_keys_file)
        self._checked = time.monotonic()

    @property
    def entries(self) -> tuple[Entry, ...]:
        path = self._settings.api_keys_file
        if path is not None and time.monotonic() - self._checked >= CHECK_SECONDS:
            self._check(path)
        return self._entries

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
            self._entries = read_keys(self._settings)
        except (InvalidValue, OSError) as error:
            logger.error("API keys cannot be read; the previous content stays", path=str(path), error=str(error))
            return
        logger.info("API keys read again", path=str(path))


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
    identity: str
    digest: bytes
    scopes: frozenset[Scope]
    quotas: tuple[tuple[str, float], ...] = ()  # limits of this key by name, above 0


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def line_of(identity: str, key: str, scopes: Sequence[str] = (), limits: Sequence[str] = ()) -> str:
    """The line of the key file for a key, with its scopes and its own limits (`rate=5`)."""
    if not ID.fullmatch(identity):
        raise InvalidValue.of(
            "ID", identity, "1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit"
        )
    if scopes and _scopes("+".join(scopes)) is None:
        raise InvalidValue.of("scope", " ".join(scopes), ", ".join(SCOPES))
    if _quotas(limits) is None:
        raise InvalidValue.of("limit", " ".join(limits), f"NAME=NUMBER, above 0, of {', '.join(QUOTAS)}")
    return " ".join([identity, digest_of(key).hex(), *(["+".join(scopes)] if scopes else []), *limits])


def read_keys(settings: Settings) -> tuple[Entry, ...]:
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


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
