"""Trainings as records, which gateways add and a trainer works on, and the folder with their files.

    trainings.sqlite  record "training" by id: `Training`; record "trainer": expires when no trainer has renewed it
    ID/archive.zip    pictures and labels as they came
    ID/output.txt     what the training prints, for operators
    ID/log.txt        the same without paths of the machine, for clients
    ID/imported/      the pictures as an indexed set
    ID/scratch/       temporary files
    ID/run/NAME/      the training's own files, and at its end a model directory

The folder is shared by a volume where gateway and trainer are apart. Its records are never in Redis: a trainer reads
strangers' files, and has no network. The end of a record ends its training.

It is no job of the batch engine: no picture is answered by itself, each step needs earlier ones, and what a killed
training goes on from is a checkpoint in this folder, all that its sandbox reaches.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from operator import methodcaller
from pathlib import Path
from typing import Any, Literal

import structlog

from lexiseg_service.records.sqlite import opening
from lexiseg_service.records.store import Record, StoreAway, Transaction

logger = structlog.get_logger("lexiseg.trainings")
State = Literal["adding", "waiting", "running", "done", "refused", "failed"]
STATES: tuple[State, ...] = ("waiting", "running", "done", "refused", "failed")  # that clients see
FILE = "trainings.sqlite"
IDENTITY = re.compile("[0-9a-f]{24}")
UNENDED = ("adding", "waiting", "running")
TRAINING, TRAINER = "training", "trainer"  # kinds of records
ADDING_SECONDS = 3600.0  # from `add` to `complete`; after it the gateway that added the training is gone
ALIVE_SECONDS = 60.0  # since the last sign of a trainer, which gives one every few seconds
REMAINING = {"log.txt", "output.txt"}  # files of a training that has ended
REQUEST_OF_0_4, STATE_OF_0_4 = "training.json", "state.json"  # files that were its record


@dataclass(frozen=True)
class Training:
    """What a client asked for, and its progress."""

    id: str
    owner: str  # id of the API key
    name: str  # of the new model
    start: str  # NAME or NAME@VERSION of the model that it starts from
    created: float  # seconds since the epoch
    client: str = ""  # key or address, for shares
    nbytes: int = 0  # of its pictures, which are removed at its end
    dry_run: bool = False  # ends when its archive is read
    state: State = "waiting"
    started: float | None = None
    ended: float | None = None
    detail: str | None = None
    import_report: Mapping[str, Any] | None = None  # contents of its archive, as the importer wrote it
    figures: Mapping[str, Any] | None = None  # step, and reports before and after, as the training wrote them
    attempts: int = 0  # times that a trainer began it and neither ended it nor was asked to stop

    def record(self) -> Record:
        expires = self.created + ADDING_SECONDS if self.state == "adding" else None
        body = json.dumps(asdict(self)).encode()
        return Record(TRAINING, self.id, self.client, self.state, "", expires, self.nbytes, body)


class TrainingStore:
    """The trainings of a folder; what reads or writes records raises StoreAway."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # WAL does not work on volumes of a network.
        with opening(root / FILE, "LEXISEG_TRAININGS", journal="DELETE") as store:
            self._store = store
            self.import_earlier()
        self.close = store.close

    def all(self) -> list[Training]:
        """Complete trainings, the oldest first."""

        def read(step: Transaction) -> list[Record]:
            return step.records(TRAINING, [row.id for row in step.rows(TRAINING) if row.state != "adding"])

        trainings = [_training(record) for record in self._store.view(read)]
        return sorted(trainings, key=lambda each: (each.created, each.id))

    def read(self, identity: str) -> Training | None:
        record = self._store.view(lambda step: step.read(TRAINING, identity))
        return None if record is None or record.state == "adding" else _training(record)

    def check(self, check: Callable[[Sequence[Record], Sequence[Training]], object]) -> None:
        """Call a function with all rows, and with the trainings that have not ended, unfinished uploads among them."""
        self._store.view(lambda step: _check(step, check))

    def add(self, training: Training, check: Callable[[Sequence[Record], Sequence[Training]], object]) -> None:
        """Add a training in one step with `check`, which raises what refuses it; `complete` follows."""

        def add(step: Transaction) -> None:
            _check(step, check)
            step.write(replace(training, state="adding").record())

        self._store.transact(add)

    def complete(self, identity: str) -> bool:
        """Have a trainer take a training with all of its files; False: it was removed."""
        return self.update(identity, state="waiting") is not None

    def update(self, identity: str, **values: Any) -> Training | None:
        """The training with other values; None: it was removed."""

        def update(step: Transaction) -> Training | None:
            record = step.read(TRAINING, identity)
            if record is None:
                return None
            training = replace(_training(record), **values)
            step.write(training.record())
            return training

        return self._store.transact(update)

    def path(self, identity: str) -> Path:
        return self.root / Path(identity).name

    def output(self, identity: str) -> Path:
        return self.path(identity) / "output.txt"

    def log(self, identity: str) -> Path:
        return self.path(identity) / "log.txt"

    def clear(self, identity: str) -> None:
        """Remove the pictures of a training that has ended, and what it wrote; its logs stay."""
        for path in [*self.path(identity).glob("*")]:
            if path.name not in REMAINING:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        path.unlink()

    def remove(self, identity: str) -> None:
        """Remove a training; one that runs is ended by the trainer. `sweep` removes the files that resist."""
        remove = methodcaller("remove", TRAINING, identity)
        try:
            self._store.transact(remove)
        except StoreAway:  # perhaps the disk is full: its files make room
            self._remove_files(identity)
            self._store.transact(remove)
        self._remove_files(identity)

    def _remove_files(self, identity: str) -> None:
        hidden = self.root / f".{Path(identity).name}"
        with suppress(FileNotFoundError, FileExistsError):
            os.rename(self.path(identity), hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def sweep(self, before: float) -> None:
        """Remove trainings that ended before a time, and what removals and gateways that died have left."""
        self.import_earlier()
        rows = self._store.view(lambda step: step.rows(TRAINING))
        expired = [row.id for row in rows if row.has_expired]
        for identity in [*expired, *(each.id for each in self.all() if each.ended is not None and each.ended < before)]:
            self.remove(identity)
        identities = {row.id for row in rows}
        for path in self.root.iterdir():
            is_leftover = IDENTITY.fullmatch(path.name) and path.name not in identities and _is_old(path)
            if path.is_dir() and (path.name.startswith(".") or is_leftover):
                shutil.rmtree(path, ignore_errors=True)

    def beat(self) -> None:
        record = Record(TRAINER, TRAINER, expires=time.time() + ALIVE_SECONDS)
        self._store.transact(methodcaller("write", record))

    def seconds_since_beat(self) -> float | None:
        """Time since a trainer was at work; None if none ever was."""
        record = self._store.view(lambda step: step.read(TRAINER, TRAINER))
        if record is None or record.expires is None:
            return None
        return max(0.0, time.time() - (record.expires - ALIVE_SECONDS))

    @contextmanager
    def locked(self) -> Iterator[int | None]:
        """The lock of one trainer, as a file descriptor that its training inherits; None while another has it."""
        descriptor = os.open(self.root / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
        finally:
            os.close(descriptor)

    def import_earlier(self) -> None:
        """Make records of the trainings of 0.4, unless a trainer is at work; one that cannot be read stays a file."""
        with self.locked() as lock:
            for path in self.root.glob(f"[!.]*/{REQUEST_OF_0_4}") if lock is not None else ():
                try:
                    record = _training_of_0_4(path).record()
                except (OSError, ValueError, TypeError) as error:
                    name, reason = path.parent.name, type(error).__name__
                    logger.warning("a training of an earlier release cannot be read", training=name, error=reason)
                    continue
                self._store.transact(methodcaller("write", record))
                path.unlink()
                path.with_name(STATE_OF_0_4).unlink(missing_ok=True)


def _check(step: Transaction, check: Callable[[Sequence[Record], Sequence[Training]], object]) -> None:
    rows = step.rows(TRAINING)
    unended = step.records(TRAINING, [row.id for row in rows if row.state in UNENDED and not row.has_expired])
    check(rows, [_training(record) for record in unended])


def _is_old(folder: Path) -> bool:
    """Whether nobody is about to make, or to import, the record of a folder."""
    with suppress(OSError):
        return folder.stat().st_mtime < time.time() - ADDING_SECONDS and not (folder / REQUEST_OF_0_4).exists()
    return False


def _training(record: Record) -> Training:
    return Training(**json.loads(record.body))


def _training_of_0_4(path: Path) -> Training:
    state_file = path.with_name(STATE_OF_0_4)
    progress = json.loads(state_file.read_bytes()) if state_file.exists() else {}
    renamed = {"found": "import_report", "begun": "attempts"}
    values = {renamed.get(name, name): value for name, value in progress.items()}
    training = Training(**json.loads(path.read_bytes()), **values)
    return training if training.ended is None else replace(training, nbytes=0)
