"""API keys that are replaced while the gateway runs: their file is looked at again, at most once a second."""

from __future__ import annotations

import os
import time
from pathlib import Path

import structlog

from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.admission.keys import FILE, Scope, read_keys
from lexiseg_service.gateway.admission.limits import Rule
from lexiseg_service.settings import Settings

logger = structlog.get_logger(__name__)
LOOK_SECONDS = 1.0
MOST_BYTES = 16 * 2**20
State = tuple[int, int, int]  # when it changed, which it is, bytes


class Keys:
    """The keys that are known now.

    A file that has become unreadable, or wrong, changes nothing: who was let in stays in, nobody else comes in, and the
    log says so once. One whose last line has no end may be half written, and a line without its last words allows more
    than the whole one: it is read when it has stayed as it is from one look to the next.

    Raises:
        InvalidValue: at the start, a line is not `ID HASH`, a source that is set holds no key, or the file cannot be
            read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.api_keys_file
        self._seen = self._found = _state(self._path)
        self._ring = read_keys(settings)
        self._looked = time.monotonic()

    @property
    def needed(self) -> bool:
        """Whether a request needs a key. A file of keys never comes to hold none, so this stays as it is."""
        return self._ring.needed

    def identify(self, key: str | None, scope: Scope = "segment") -> str | None:
        """As `KeyRing.identify`, of the newest keys."""
        if self._path is not None and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._look()
        return self._ring.identify(key, scope)

    def may(self, identity: str, scope: Scope) -> bool:
        """As `KeyRing.may`, of the keys that are known now."""
        return self._ring.may(identity, scope)

    def rule(self, identity: str, common: Rule) -> Rule:
        """As `KeyRing.rule`, of the keys that are known now."""
        return self._ring.rule(identity, common)

    def _look(self) -> None:
        self._looked = time.monotonic()
        state, before = _state(self._path), self._found
        self._found = state
        if state == self._seen or (state != before and _may_go_on(self._path, state)):
            return
        self._seen = state
        try:
            _refuse_other_than_files(self._path, state)
            ring = read_keys(self._settings)
        except InvalidValue as error:
            logger.error("API keys are not as expected; those of before stay", path=str(self._path), error=error.detail)
            return
        self._ring = ring
        logger.info("API keys read again", path=str(self._path), keys=len(ring.entries))


def _refuse_other_than_files(path: Path | None, state: State | None) -> None:
    """Raises:
    InvalidValue: reading might never end, and everybody waits meanwhile.
    """
    if path is not None and state is not None and (not path.is_file() or state[2] > MOST_BYTES):
        raise InvalidValue.of(FILE, str(path), f"a file of at most {MOST_BYTES:,} bytes")


def _may_go_on(path: Path | None, state: State | None) -> bool:
    """Whether a file's last line has no end."""
    if path is None or state is None or not state[2] or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except OSError:
        return False


def _state(path: Path | None) -> State | None:
    """What changes with a file's content, also where a link is turned to another file (Kubernetes' secrets)."""
    try:
        found = None if path is None else os.stat(path)
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino, found.st_size)
