"""The operations on trainings: create, look up, read the log, remove; ended ones expire."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from lexiseg_service.errors import InvalidValue, NotReady, UnknownTraining
from lexiseg_service.gateway.admission.access import AccessControl, Caller
from lexiseg_service.gateway.times import DAY, expiry, has_passed, rfc3339
from lexiseg_service.gateway.trainings.training import ALIVE_SECONDS, STATES, UNENDED, Training, TrainingStore
from lexiseg_service.gateway.uploaded_archive import ARCHIVE_FILE, unpacked_bytes
from lexiseg_service.gateway.use_case import UseCase, find_card
from lexiseg_service.records.documents import check_name
from lexiseg_service.records.store import Amounts, Quota, Record, StoreAway
from lexiseg_service.retries import AWAY_SECONDS, for_ever
from lexiseg_service.settings import Settings
from lexiseg_service.watch.collectors import TRAININGS, Gauges, Values
from lexiseg_service.watch.metrics import Metrics

T = TypeVar("T")
ID_BYTES = 12
MAX_UNENDED = 8  # of all clients
MAX_NUMBER = 100  # of one client, ended ones among them
UNPACKED = 4  # times the bytes of the largest archive, for what is in it
MAX_LOG_BYTES = 2**20  # of the end of a log
SWEEP_SECONDS = 600.0  # between looks for trainings that have expired


class Trainings:
    """The trainings of an installation, in the folder of LEXISEG_TRAININGS."""

    def __init__(self, root: Path, settings: Settings, use_case: UseCase, metrics: Metrics) -> None:
        self._store = TrainingStore(root)
        self._settings = settings
        self._use_case = use_case
        self._sweeping: asyncio.Task[None] | None = None
        of_client = Amounts(number=MAX_NUMBER, nbytes=settings.job_bytes_per_client)
        self._quota = Quota(of_client, Amounts(unended=MAX_UNENDED), UNENDED)
        metrics.registry.register(Gauges(TRAININGS, self._gauges))

    @classmethod
    def opened(
        cls, settings: Settings, use_case: UseCase, _access: AccessControl, metrics: Metrics
    ) -> Trainings | None:
        """The settings'; None: they are switched off."""
        return None if settings.trainings is None else cls(settings.trainings, settings, use_case, metrics)

    async def start(self) -> None:
        self._sweeping = asyncio.create_task(for_ever(self._sweep, SWEEP_SECONDS))

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.to_thread(self._store.close)

    async def _sweep(self) -> None:
        await _ask(self._store.sweep, time.time() - DAY * self._settings.keep_days)

    async def check(self, caller: Caller) -> None:
        """Check, before an archive is read, that a training would be taken."""
        since = await _ask(self._store.seconds_since_beat)
        if since is None or since > ALIVE_SECONDS:
            ever = "none ever was here" if since is None else f"the last one was {since:,.0f} s ago"
            raise NotReady(f"no trainer is at work, {ever}: an operator starts `lexiseg trainer`", AWAY_SECONDS)
        next_one = Training("", caller.owner, "", "", time.time(), caller.client)
        await _ask(self._store.check, lambda rows, _: self._check_room(next_one, rows))

    async def create(self, name: str, start: str, archive: BinaryIO, caller: Caller, *, dry_run: bool) -> Training:
        """A new training, which a trainer takes when earlier ones have ended."""
        check_name(name)
        cards = self._use_case.backend.cards()
        find_card(start, cards)
        identity, now = secrets.token_hex(ID_BYTES), time.time()
        training = Training(identity, caller.owner, name, start, now, caller.client, dry_run=dry_run)
        return await _ask(self._write, training, archive, {card.name for card in cards})

    def _write(self, training: Training, content: BinaryIO, models: set[str]) -> Training:
        nbytes = unpacked_bytes(content, UNPACKED * self._settings.archive_bytes)
        training = replace(training, nbytes=nbytes)

        def check(rows: Sequence[Record], unended: Sequence[Training]) -> None:
            if training.name in models | {each.name for each in unended}:
                raise InvalidValue.of("name", training.name, "a name that no model and no other training has")
            self._check_room(training, rows)

        self._store.add(training, check)
        folder = self._store.path(training.id)
        try:
            folder.mkdir(mode=0o700)
            content.seek(0)
            with (folder / ARCHIVE_FILE).open("xb") as file:
                shutil.copyfileobj(content, file)
            if not self._store.complete(training.id):
                raise NotReady("the training was removed while it was added", AWAY_SECONDS)
        except BaseException:
            self._store.remove(training.id)
            raise
        return training

    def _check_room(self, training: Training, rows: Sequence[Record]) -> None:
        if (excess := self._quota.excess(rows, training.record())) is not None:
            raise excess.refusal("trainings", "pictures", AWAY_SECONDS)

    async def find(self, identity: str, caller: Caller) -> Training:
        training = await _ask(self._store.read, identity)
        is_visible = training is not None and (training.owner == caller.owner or caller.admin)
        if training is None or not is_visible or has_passed(self._expiry(training)):
            raise UnknownTraining("there is no such training of this key; it may have been removed")
        return training

    async def list_all(self, caller: Caller) -> list[Training]:
        own = [each for each in await _ask(self._store.all) if each.owner == caller.owner]
        return [each for each in own if not has_passed(self._expiry(each))]

    async def log(self, identity: str, caller: Caller) -> bytes:
        await self.find(identity, caller)
        return await asyncio.to_thread(_end_of, self._store.log(identity))

    async def remove(self, identity: str, caller: Caller) -> None:
        """End a training, and remove its pictures and its log; a model that it made stays."""
        await self.find(identity, caller)
        await _ask(self._store.remove, identity)

    async def remove_all(self, caller: Caller) -> int:
        """Remove all trainings of a caller; returns their number."""
        trainings = [each for each in await _ask(self._store.all) if each.owner == caller.owner]
        for training in trainings:
            await _ask(self._store.remove, training.id)
        return len(trainings)

    def output(self, training: Training) -> dict[str, Any]:
        times = {name: rfc3339(getattr(training, name)) for name in ("created", "started", "ended")}
        plain = {name: getattr(training, name) for name in ("id", "name", "start", "state", "detail", "figures")}
        return {**plain, **times, "expires": rfc3339(self._expiry(training)), "found": training.import_report}

    def _expiry(self, training: Training) -> float | None:
        return expiry(training.ended, self._settings.keep_days)

    def _gauges(self) -> Values | None:
        try:
            disk = shutil.disk_usage(self._store.root)
            trainings, since = self._store.all(), self._store.seconds_since_beat()
        except (OSError, StoreAway):
            return None
        waiting = [training.created for training in trainings if training.state == "waiting"]
        states = Counter(training.state for training in trainings)
        return {
            "lexiseg_trainings": {state: states[state] for state in STATES},
            "lexiseg_trainings_oldest_waiting_seconds": max(0.0, time.time() - min(waiting)) if waiting else 0.0,
            "lexiseg_trainer_alive": since is not None and since <= ALIVE_SECONDS,
            "lexiseg_trainings_disk_free_bytes": disk.free,
            "lexiseg_trainings_disk_bytes": disk.total,
        }


async def _ask(call: Callable[..., T], *arguments: Any) -> T:
    """The result of a call, in a thread. Raises NotReady: the disk is full, or the store is away."""
    try:
        return await asyncio.to_thread(call, *arguments)
    except (OSError, StoreAway) as error:
        reason = getattr(error, "strerror", None) or error
        raise NotReady(f"trainings cannot be read or written now: {reason}", AWAY_SECONDS) from None


def _end_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_LOG_BYTES))
            return file.read()
    except OSError:  # not begun
        return b""
