"""The operations on trainings: create, look up, read the log, remove; ended ones expire."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, get_args

import structlog

from lexiseg_service.errors import InvalidValue, NotReady, QueueFull, RateLimited, UnknownTraining
from lexiseg_service.gateway.admission.access import AccessControl, Caller
from lexiseg_service.gateway.times import DAY, expiry, has_passed, rfc3339
from lexiseg_service.gateway.trainings.schemas import TrainingInput
from lexiseg_service.gateway.trainings.training import ENDED, Standing, State, Training, TrainingFolder
from lexiseg_service.gateway.uploaded_archive import ARCHIVE_FILE, unpacked_bytes
from lexiseg_service.gateway.use_case import UseCase, find_card
from lexiseg_service.gateway.waits import for_ever
from lexiseg_service.retries import AWAY_SECONDS
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE
from lexiseg_service.watch.background import Disk, TrainingsSnapshot
from lexiseg_service.watch.background import Trainings as SeenTrainings
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.trainings")
ID_BYTES = 12
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
MAX_UNENDED = 8  # of all clients
MAX_KEPT = 100  # of one client, ended ones among them
UNPACKED = 4  # times the bytes of the largest archive, for what is in it
MAX_LOG_BYTES = 2**20  # of the end of a log
ALIVE_SECONDS = 60.0  # since the last sign of a trainer, which gives one every few seconds
SWEEP_SECONDS = 600.0  # between looks for trainings that have expired


class Trainings:
    """The trainings of an installation, in the folder of LEXISEG_TRAININGS."""

    def __init__(self, root: Path, settings: Settings, use_case: UseCase, metrics: Metrics) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._folder = TrainingFolder(root)
        self._settings = settings
        self._use_case = use_case
        self._sweeping: asyncio.Task[None] | None = None
        metrics.registry.register(SeenTrainings(self._snapshot))

    @classmethod
    def opened(
        cls, settings: Settings, use_case: UseCase, _access: AccessControl, metrics: Metrics
    ) -> Trainings | None:
        """The settings'; None: they are switched off."""
        return None if settings.trainings is None else cls(settings.trainings, settings, use_case, metrics)

    async def start(self) -> None:
        """Begin to look for trainings that have expired."""
        self._sweeping = asyncio.create_task(for_ever(self._sweep, SWEEP_SECONDS))

    async def close(self) -> None:
        """Stop looking."""
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def _sweep(self) -> None:
        await asyncio.to_thread(self._folder.sweep, time.time() - DAY * self._settings.keep_days)

    async def check(self, caller: Caller) -> None:
        """Check, before an archive is read, that a training would be taken.

        Raises:
            NotReady: no trainer is at work.
            RateLimited, QueueFull: there is no place for it.
        """
        since = await asyncio.to_thread(self._folder.seconds_since_beat)
        if since is None or since > ALIVE_SECONDS:
            ever = "none ever was here" if since is None else f"the last one was {since:,.0f} s ago"
            raise NotReady(f"no trainer is at work, {ever}: an operator starts `lexiseg trainer`", AWAY_SECONDS)
        before = await asyncio.to_thread(self._all)
        unended = [training for training, standing in before if standing.state not in ENDED]
        self._check_places(caller, unended, [training for training, standing in before if standing.state in ENDED])

    async def create(self, body: TrainingInput, archive: BinaryIO, caller: Caller) -> tuple[Training, Standing]:
        """A new training, which a trainer takes when earlier ones have ended.

        Raises:
            InvalidValue: the archive is no zip or too large, or the name is taken or is none.
            UnknownModel: there is no model to start from.
            RateLimited, QueueFull: too many trainings or bytes wait.
            NotReady: the pictures cannot be kept now.
        """
        if not NAME.fullmatch(body.name):
            raise InvalidValue.of("name", body.name, "1 to 64 of a-z, 0-9 and -, not beginning with -")
        cards = self._use_case.backend.cards()
        find_card(body.start, cards)
        identity, now = secrets.token_hex(ID_BYTES), time.time()
        training = Training(identity, caller.owner, body.name, body.start, now, caller.client, dry_run=body.dry_run)
        training = await asyncio.to_thread(self._write, training, archive, caller, {card.name for card in cards})
        return training, Standing()

    def _write(self, training: Training, content: BinaryIO, caller: Caller, models: set[str]) -> Training:
        nbytes = unpacked_bytes(content, UNPACKED * self._settings.archive_bytes)
        training = replace(training, nbytes=nbytes)

        def check(unended: Sequence[Training], ended: Sequence[Training]) -> None:
            if training.name in models | {each.name for each in unended}:
                raise InvalidValue.of("name", training.name, "a name that no model and no other training has")
            self._check_places(caller, unended, ended, nbytes)

        try:
            content.seek(0)
            with self._folder.reserved(training, check) as folder, (folder / ARCHIVE_FILE).open("xb") as file:
                shutil.copyfileobj(content, file)
        except OSError as error:
            raise NotReady(f"the pictures cannot be kept now: {error.strerror or error}", AWAY_SECONDS) from None
        return training

    def _check_places(
        self, caller: Caller, unended: Sequence[Training], ended: Sequence[Training], nbytes: int = 0
    ) -> None:
        """Check that a client may have one more training, of so many bytes."""
        own = [each for each in unended if each.client == caller.client]
        share = max(1, int(CLIENT_SHARE * (MAX_UNENDED - len(unended) + len(own))))
        if len(own) >= share:
            raise RateLimited(
                f"{len(own)} trainings of this client have not ended, its share is {share} now", AWAY_SECONDS
            )
        if len(unended) >= MAX_UNENDED:
            raise QueueFull(f"{MAX_UNENDED} trainings have not ended, the limit", AWAY_SECONDS)
        count = len(own) + sum(each.client == caller.client for each in ended)
        if count >= MAX_KEPT:
            raise RateLimited(f"{count} trainings of this client are kept, the limit; remove some", AWAY_SECONDS)
        n_bytes, most = sum(each.nbytes for each in own), self._settings.job_bytes_per_client
        if n_bytes + nbytes > most:
            raise RateLimited(
                f"pictures of this client's trainings take {n_bytes:,} bytes, with these {n_bytes + nbytes:,}, the "
                f"limit is {most:,}",
                AWAY_SECONDS,
            )

    def _all(self) -> list[tuple[Training, Standing]]:
        return [(training, self._folder.standing(training.id)) for training in self._folder.all()]

    async def find(self, identity: str, caller: Caller) -> tuple[Training, Standing]:
        """A training of a caller, and where it stands.

        Raises:
            UnknownTraining: no such training of that key.
        """
        training = await asyncio.to_thread(self._folder.find, identity)
        if training is not None and (training.owner == caller.owner or caller.admin):
            standing = await asyncio.to_thread(self._folder.standing, identity)
            if not has_passed(self._expiry(standing)):
                return training, standing
        raise UnknownTraining("there is no such training of this key; it may have been removed")

    async def standing(self, identity: str, caller: Caller) -> dict[str, Any]:
        """The output of a training of a caller. Raises UnknownTraining: no such training of that key."""
        return self.output(*await self.find(identity, caller))

    async def list_all(self, caller: Caller) -> list[tuple[Training, Standing]]:
        """The trainings of a caller, the oldest first."""
        own = [each for each in await asyncio.to_thread(self._all) if each[0].owner == caller.owner]
        return [each for each in own if not has_passed(self._expiry(each[1]))]

    async def log(self, identity: str, caller: Caller) -> bytes:
        """The end of the log.

        Raises:
            UnknownTraining: no such training of that key.
        """
        await self.find(identity, caller)
        return await asyncio.to_thread(_end_of, self._folder.log(identity))

    async def remove(self, identity: str, caller: Caller) -> None:
        """End a training, and remove its pictures and its log; a model that it made stays.

        Raises:
            UnknownTraining: no such training of that key.
        """
        await self.find(identity, caller)
        await asyncio.to_thread(self._folder.remove, identity)

    async def remove_all(self, caller: Caller) -> int:
        """Remove all trainings of a caller; returns their number."""
        trainings = [each for each, _ in await asyncio.to_thread(self._all) if each.owner == caller.owner]
        for training in trainings:
            await asyncio.to_thread(self._folder.remove, training.id)
        return len(trainings)

    def output(self, training: Training, standing: Standing) -> dict[str, Any]:
        """The values of `schemas.TrainingOutput`."""
        return {
            "id": training.id,
            "name": training.name,
            "start": training.start,
            "state": standing.state,
            "created": rfc3339(training.created),
            "started": rfc3339(standing.started),
            "ended": rfc3339(standing.ended),
            "expires": rfc3339(self._expiry(standing)),
            "detail": standing.detail,
            "found": standing.found,
            "figures": standing.figures,
        }

    def _expiry(self, standing: Standing) -> float | None:
        return expiry(standing.ended, self._settings.keep_days)

    def _snapshot(self) -> TrainingsSnapshot | None:
        """What metrics show of the folder; None: it cannot be read."""
        try:
            disk = shutil.disk_usage(self._folder.root)
        except OSError:
            return None
        trainings = self._all()
        waiting = [training.created for training, standing in trainings if standing.state == "waiting"]
        states = Counter(standing.state for _, standing in trainings)
        since = self._folder.seconds_since_beat()
        return TrainingsSnapshot(
            {state: states[state] for state in get_args(State)},
            max(0.0, time.time() - min(waiting)) if waiting else 0.0,
            since is not None and since <= ALIVE_SECONDS,
            Disk(disk.free, disk.total),
        )


def _end_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_LOG_BYTES))
            return file.read()
    except OSError:  # not begun
        return b""
