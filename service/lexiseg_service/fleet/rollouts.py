"""The version of a model for requests that name none: a fixed share of them gets a new version.

A file of lines, checked for changes at most once a second:

    tcl@2 5 key      5 % of the keys (or addresses) get version 2 of tcl, the others the one that workers list first
    tiny@3 50 image  half of the images get version 3 of tiny, for all clients
    tcl@3 5 key tcl@2    the others get version 2

A client stays in a share that grows: its hash for the model and version is compared with the share. A version that no
worker has, or that all workers still load, is not used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import structlog

from lexiseg_model.errors import OptionError
from lexiseg_model.files import READABLE, write_durably
from lexiseg_model.types import ModelCard, ModelName
from lexiseg_service.errors import InvalidValue
from lexiseg_service.watched_file import WatchedFile

logger = structlog.get_logger("lexiseg.rollouts")
LINE = re.compile(
    r"(?P<name>[^\s@]+)@(?P<version>[^\s@]+) (?P<percent>\d+(?:\.\d+)?(?:e-\d+)?)"
    r"(?: (?P<by>key|image)(?: (?P=name)@(?P<before>[^\s@]+))?)?"
)
EXPECTED = "lines of NAME@VERSION PERCENT key|image, and the NAME@VERSION of the others if it is not the first one"

By = Literal["key", "image"]


@dataclass(frozen=True)
class Rollout:
    """A version of a model and the share of requests that get it, 0 to 100 percent.

    `before` is the version of the others; None: the one that workers list first.
    """

    model: ModelName
    percent: float
    by: By = "key"
    before: ModelName | None = None

    def takes(self, client: str) -> bool:
        """Whether a key, an address or an image is in the share."""
        draw = hashlib.blake2b(f"{self.model}|{client}".encode(), digest_size=8).digest()
        return int.from_bytes(draw) / 2**64 * 100 < self.percent

    def __str__(self) -> str:
        return f"{self.model} {self.percent:g} {self.by}" + (f" {self.before}" if self.before is not None else "")


def read_rollouts(text: str) -> dict[str, Rollout]:
    """Rollouts by the name of their model.

    Raises:
        InvalidValue: a line is not as expected, or a model has two.
    """
    rollouts: dict[str, Rollout] = {}
    for line in text.splitlines():
        words = " ".join(line.partition("#")[0].split())
        if not words:
            continue
        entry = LINE.fullmatch(words)
        if entry is None or float(entry["percent"]) > 100 or entry["before"] == entry["version"]:
            raise InvalidValue.of("rollouts", line, EXPECTED)
        name = entry["name"]
        if name in rollouts:
            raise InvalidValue.of("rollouts", line, f"one line for {name}")
        before = None if entry["before"] is None else ModelName(name, entry["before"])
        by = cast(By, entry["by"] or "key")
        rollouts[name] = Rollout(ModelName(name, entry["version"]), float(entry["percent"]), by, before)
    return rollouts


def write_rollouts(path: Path, rollouts: dict[str, Rollout]) -> None:
    """Replace the file atomically.

    Raises:
        OptionError: there is no such folder.
        OSError: it cannot be written.
    """
    if not path.resolve().parent.is_dir():
        raise OptionError(f"{path}: there is no such folder")
    text = "".join(f"{rollout}\n" for rollout in rollouts.values())
    mode = path.stat().st_mode & 0o777 if path.exists() else READABLE  # whoever could read or write it still can
    write_durably(path.resolve(), lambda fresh: fresh.write_text(text), mode)


class Rollouts:
    """The current rollouts; none without a file.

    A file that is missing at the start is logged, and read once it is there.

    Args:
        path: of the file, which is read again when it changes.
        passed_over: called with NAME@VERSION for each request of a share that gets another version, because its own is
            not loaded yet.

    Raises:
        InvalidValue: at the start, a line is not as expected.
        OSError: at the start, the file is there and cannot be read.
    """

    def __init__(self, path: Path | None = None, passed_over: Callable[[str], None] = lambda model: None) -> None:
        self._passed_over = passed_over
        rollouts: dict[str, Rollout] = {}
        if path is not None and path.exists():
            rollouts = _read_file(path)
        elif path is not None:
            logger.warning("no rollouts: the file is missing", path=str(path))
        self._file = WatchedFile("rollouts", path, lambda: {} if path is None else _read_file(path), rollouts)

    def of(self, name: str) -> Rollout | None:
        """The rollout of a model, NAME."""
        return self._file.content.get(name)

    def card(
        self, rollout: Rollout, cards: Sequence[ModelCard], client: str, awaited: Collection[str] = ()
    ) -> ModelCard | None:
        """The card of the version that a client gets; None where no version of the model is known.

        Args:
            rollout: of the model.
            cards: of all versions of all models.
            client: a key, an address or an image.
            awaited: NAME@VERSION of those that no worker has loaded yet; their shares get the previous version.
        """
        versions = [card for card in cards if card.name == rollout.model.name]
        new = [card for card in versions if rollout.model.fits(card)]
        before = [card for card in versions if not rollout.model.fits(card)]
        if (others := rollout.before) is not None:
            before.sort(key=lambda card: not others.fits(card))
        if rollout.takes(client):
            if str(rollout.model) not in awaited:
                return next(iter(new + before), None)
            if before:
                self._passed_over(str(rollout.model))
        return next(iter(before + new), None)

    def held_back(self, awaited: Collection[str]) -> list[str]:
        """NAME@VERSION of those whose share waits, because no worker has loaded them yet."""
        shares = [str(rollout.model) for rollout in self._file.content.values() if rollout.percent]
        return [model for model in shares if model in awaited]


def _read_file(path: Path) -> dict[str, Rollout]:
    return read_rollouts(path.read_text("utf-8"))
