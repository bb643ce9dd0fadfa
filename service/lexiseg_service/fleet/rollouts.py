"""Which version of a model answers those who name none: a share of them a new one, and always the same share.

A file of lines, looked at again at most once a second:

    tcl@2 5 key      5 % of the keys (or addresses) get version 2 of tcl, the others the one that workers name first
    tiny@3 50 image  so do half of the images, whoever asks
    tcl@3 5 key tcl@2    the others get version 2

Whoever is in a share stays in it while it grows: each draws one number for the model and version, and is in when it is
below the share. A version that no worker has, or that all are still loading, is given to nobody.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import structlog

from lexiseg_model.errors import OptionError, UnknownModelError
from lexiseg_model.types import ModelCard, ModelName
from lexiseg_service.errors import InvalidValue

logger = structlog.get_logger("lexiseg.rollouts")
LOOK_SECONDS = 1.0
EXPECTED = "lines of NAME@VERSION PERCENT key|image, and the NAME@VERSION of the others if it is not the first one"

By = Literal["key", "image"]


@dataclass(frozen=True)
class Rollout:
    """A version of a model and the share of those who get it, 0 to 100 percent.

    `before` is what the others get; None is the version that workers name first.
    """

    model: ModelName
    percent: float
    by: By = "key"
    before: ModelName | None = None

    def takes(self, who: str) -> bool:
        """Whether a key, an address or an image is in the share."""
        draw = hashlib.blake2b(f"{self.model}|{who}".encode(), digest_size=8).digest()
        return int.from_bytes(draw) / 2**64 * 100 < self.percent

    def __str__(self) -> str:
        return f"{self.model} {self.percent:g} {self.by}" + (f" {self.before}" if self.before is not None else "")


def read_rollouts(text: str) -> dict[str, Rollout]:
    """Rollouts by the name of their model.

    Raises:
        InvalidValue: a line is none, or a model has two.
    """
    rollouts: dict[str, Rollout] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        rollout = _read(line, words)
        if rollout.model.name in rollouts:
            raise InvalidValue.of("rollouts", line, f"one line for {rollout.model.name}")
        rollouts[rollout.model.name] = rollout
    return rollouts


def write_rollouts(path: Path, rollouts: dict[str, Rollout]) -> None:
    """In one piece: gateways see the file of before or the one after it.

    Raises:
        OptionError: there is no such folder.
        OSError: it cannot be written.
    """
    if not path.resolve().parent.is_dir():
        raise OptionError(f"{path}: there is no such folder")
    text = "".join(f"{rollout}\n" for rollout in rollouts.values())
    mode = path.stat().st_mode if path.exists() else 0o644
    with tempfile.NamedTemporaryFile("w", dir=path.resolve().parent, prefix=".", delete=False) as file:
        file.write(text)
    os.chmod(file.name, mode & 0o777)
    os.replace(file.name, path.resolve())


class Rollouts:
    """The rollouts that go on now; none without a file.

    A file that is missing at the start is logged and read once it is there. One that goes or becomes wrong later
    changes nothing and is logged once. `passed_over` is called with NAME@VERSION for each request of a share that gets
    another version, for its own would have to be waited for.

    Raises:
        InvalidValue: at the start, a line is none.
        OSError: at the start, the file is there and cannot be read.
    """

    def __init__(self, path: Path | None = None, passed_over: Callable[[str], None] = lambda model: None) -> None:
        self._path = path
        self._passed_over = passed_over
        self._held_back: set[str] = set()  # as the log says
        self._seen = _state(path)
        self._now: dict[str, Rollout] = {}
        if path is not None and self._seen is not None:
            self._now = read_rollouts(path.read_text("utf-8"))
        elif path is not None:
            logger.warning("no rollouts: the file is missing", path=str(path))
        self._looked = time.monotonic()

    def of(self, name: str) -> Rollout | None:
        """The rollout of a model, NAME."""
        return self._current().get(name)

    def card(
        self, rollout: Rollout, cards: Sequence[ModelCard], who: str, awaited: Collection[str]
    ) -> ModelCard | None:
        """As `chosen`; says so where a share is not given, and when it is given again."""
        card, model = chosen(rollout, cards, who, awaited), str(rollout.model)
        if not rollout.takes(who) or card is None:
            return card
        if model in awaited and not rollout.model.fits(card):
            self._passed_over(model)
            if model not in self._held_back:
                logger.warning("a share gets the version of before", model=model, instead=str(ModelName.of(card)))
                self._held_back.add(model)
        elif model in self._held_back:
            logger.info("a share gets its version", model=model)
            self._held_back.remove(model)
        return card

    def held_back(self, awaited: Collection[str]) -> list[str]:
        """NAME@VERSION of those whose share is not given yet, for they would have to be waited for."""
        shares = [str(rollout.model) for rollout in self._current().values() if rollout.percent]
        return [model for model in shares if model in awaited]

    def _current(self) -> dict[str, Rollout]:
        if self._path is not None and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._look(self._path)
        return self._now

    def _look(self, path: Path) -> None:
        self._looked = time.monotonic()
        if (state := _state(path)) == self._seen:
            return
        self._seen = state
        try:
            self._now = read_rollouts(path.read_text("utf-8"))
        except (InvalidValue, OSError, UnicodeDecodeError) as error:
            logger.error("rollouts are not as expected; those of before go on", path=str(path), error=str(error))
            return
        logger.info("rollouts", now=[str(rollout) for rollout in self._now.values()])


def chosen(rollout: Rollout, cards: Sequence[ModelCard], who: str, awaited: Collection[str] = ()) -> ModelCard | None:
    """The card of the version that somebody gets; None where no version of the model is known.

    Args:
        rollout: who gets which.
        cards: of all versions of all models.
        who: a key, an address or an image.
        awaited: NAME@VERSION of those that would have to be waited for; a share of them is not given yet.
    """
    versions = [card for card in cards if card.name == rollout.model.name]
    new = [card for card in versions if rollout.model.fits(card)]
    before = [card for card in versions if not rollout.model.fits(card)]
    if (others := rollout.before) is not None:
        before.sort(key=lambda card: not others.fits(card))
    if not rollout.takes(who) or str(rollout.model) in awaited:
        return next(iter(before + new), None)
    return next(iter(new + before), None)


def _read(line: str, words: list[str]) -> Rollout:
    with suppress(UnknownModelError, ValueError):
        model, percent = ModelName.parse(words[0]), float(words[1] if len(words) > 1 else "nan")
        by = words[2] if len(words) > 2 else "key"
        before = ModelName.parse(words[3]) if len(words) > 3 else None
        versions = [name for name in (model, before) if name is not None]
        if (
            len(words) <= 4
            and 0 <= percent <= 100
            and by in get_args(By)
            and all(each.version is not None and each.name == model.name for each in versions)
            and before != model
        ):
            return Rollout(model, percent, cast(By, by), before)
    raise InvalidValue.of("rollouts", line, EXPECTED)


def _state(path: Path | None) -> tuple[int, int, int] | None:
    """What changes with a file's content, also where a link is turned to another file (Kubernetes' ConfigMaps)."""
    if path is None:
        return None
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_ino, seen.st_size)
