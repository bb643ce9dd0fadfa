"""A training as a folder, which gateways write and a trainer works on.

    ID/training.json   what was asked; `reserved.json` until the archive is there
    ID/archive.zip     pictures and labels as they came
    ID/state.json      where it stands; written by the trainer
    ID/output.txt      what the training prints, for operators
    ID/log.txt         the same without paths of the machine, for clients
    ID/imported/       the pictures as an indexed set
    ID/scratch/        temporary files
    ID/run/NAME/       the training's own files, and at its end a model directory

The folder is shared by a volume where gateway and trainer are apart. A folder that is gone ends its training. Names,
places and bytes are taken in one step, under a lock of the whole folder, so that several gateways count together.

It is no job of the batch engine: no picture is answered by itself, each step needs earlier ones, and what a killed
training goes on from is a checkpoint in this folder, all that its sandbox reaches.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lexiseg_labels.exports import write_whole

State = Literal["waiting", "running", "done", "refused", "failed"]
ENDED = ("done", "refused", "failed")
WHOLE, RESERVED = "training.json", "reserved.json"
NOTES = {WHOLE, "state.json", "log.txt", "output.txt"}  # what stays of a training that has ended
HEARTBEAT = ".trainer"


@dataclass(frozen=True)
class Training:
    """What a client asked for."""

    id: str
    owner: str  # id of the API key
    name: str  # of the new model
    start: str  # NAME or NAME@VERSION of the model that it starts from
    created: float  # seconds since the epoch
    client: str = ""  # key or address, for shares
    nbytes: int = 0  # of its pictures
    dry_run: bool = False  # ends when its archive is read


@dataclass(frozen=True)
class Standing:
    """Where a training stands.

    `found`: what its archive holds, as the importer wrote it. `figures`: step, and reports before and after, as the
    training wrote them.
    """

    state: State = "waiting"
    started: float | None = None
    ended: float | None = None
    detail: str | None = None
    found: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] | None = None
    begun: int = 0  # times that a trainer began it and neither ended it nor was asked to stop


class TrainingFolder:
    """The folder of all trainings."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def all(self) -> list[Training]:
        """Complete trainings, the oldest first."""
        return self._listed(WHOLE)

    def _listed(self, note: str) -> list[Training]:
        trainings = [_training(path) for path in self.root.glob(f"[!.]*/{note}")]
        return sorted((each for each in trainings if each is not None), key=lambda each: (each.created, each.id))

    def find(self, identity: str) -> Training | None:
        """One complete training."""
        return _training(self.path(identity) / WHOLE)

    @contextmanager
    def reserved(
        self, training: Training, check: Callable[[Sequence[Training], Sequence[Training]], object]
    ) -> Iterator[Path]:
        """Take a name, a place and room; the block writes the archive into the folder that it gets.

        Complete when the block ends; everything is returned if it raises.

        Args:
            training: to be added.
            check: called with the trainings that have not ended, unfinished uploads among them, and with the ones that
                have; raises what refuses this one.

        Raises:
            OSError: the folder cannot be written, or was removed meanwhile.
        """
        folder = self.path(training.id)
        with self._locked():
            # The ones being written first: one that becomes complete meanwhile is in one list or in both.
            incomplete = [each for each in self._listed(RESERVED) if not self._is_left(each.id)]
            trainings = list({each.id: each for each in (*incomplete, *self.all())}.values())
            ended = [each for each in trainings if self.standing(each.id).state in ENDED]
            check([each for each in trainings if each not in ended], ended)
            handle = self._reserve(training)
        try:
            yield folder
            os.rename(folder / RESERVED, folder / WHOLE)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(handle)

    def _reserve(self, training: Training) -> int:
        """Make the folder of a training, and the note with the lock that says that it is being written."""
        folder = self.path(training.id)
        folder.mkdir(mode=0o700)
        try:
            (folder / RESERVED).write_text(json.dumps(asdict(training)))
            return _lock_of(folder / RESERVED, os.O_RDWR)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = _lock_of(self.root / ".admission", os.O_CREAT | os.O_RDWR)
        try:
            yield
        finally:
            os.close(descriptor)

    def _is_left(self, identity: str) -> bool:
        """Whether the gateway that wrote a reserved training has died: it would hold the lock of its note."""
        note = self.path(identity) / RESERVED
        try:
            descriptor = _lock_of(note, os.O_RDWR, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # locked, or complete by now
            return False
        try:
            return note.exists()
        finally:
            os.close(descriptor)

    def standing(self, identity: str) -> Standing:
        """Where a training stands."""
        content = _read(self.path(identity) / "state.json")
        return Standing() if content is None else Standing(**content)

    def note(self, identity: str, standing: Standing) -> None:
        """Record where a training stands. Raises OSError: its folder is gone, or the disk is full."""
        write_whole(self.path(identity) / "state.json", json.dumps(asdict(standing)).encode())

    def path(self, identity: str) -> Path:
        """The folder of a training."""
        return self.root / Path(identity).name

    def output(self, identity: str) -> Path:
        """The file of what it prints."""
        return self.path(identity) / "output.txt"

    def log(self, identity: str) -> Path:
        """The file of what clients see of that."""
        return self.path(identity) / "log.txt"

    def clear(self, identity: str) -> None:
        """Remove the pictures of a training that has ended, and what it wrote; its notes stay."""
        for path in [*self.path(identity).glob("*")]:
            if path.name not in NOTES:
                _remove(path)

    def remove(self, identity: str) -> None:
        """Remove a training; one that runs is ended by the trainer, which misses the folder.

        What cannot be removed at once is hidden, and removed by `sweep`.
        """
        hidden = self.root / f".{Path(identity).name}"
        with suppress(FileNotFoundError, FileExistsError):
            os.rename(self.path(identity), hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def sweep(self, before: float) -> None:
        """Remove trainings that ended before a time, and what removals and gateways that died have left."""
        for training in self.all():
            ended = self.standing(training.id).ended
            if ended is not None and ended < before:
                self.remove(training.id)
        with self._locked():
            left = [each.id for each in self._listed(RESERVED) if self._is_left(each.id)]
        for identity in left:
            self.remove(identity)
        for path in self.root.glob(".*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)

    def beat(self) -> None:
        """Show that a trainer is at work."""
        (self.root / HEARTBEAT).touch()

    def seconds_since_beat(self) -> float | None:
        """Time since a trainer was at work; None if none ever was."""
        try:
            return max(0.0, time.time() - (self.root / HEARTBEAT).stat().st_mtime)
        except OSError:
            return None


def _lock_of(path: Path, flags: int, kind: int = fcntl.LOCK_EX) -> int:
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, kind)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _training(path: Path) -> Training | None:
    content = _read(path)
    return None if content is None else Training(**content)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content
