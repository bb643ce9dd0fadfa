"""The operations on trainings: create, look up, read the log, remove."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Any, BinaryIO

from lexiseg_service.errors import InvalidValue, NotReady, RateLimited, UnknownTraining
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.jobs.sources import unpack
from lexiseg_service.gateway.trainings.schemas import TrainingInput
from lexiseg_service.gateway.trainings.training import ENDED, PICTURES, Standing, Training, TrainingFolder
from lexiseg_service.gateway.use_case import UseCase, find_card
from lexiseg_service.settings import Settings
from lexiseg_service.times import rfc3339

ID_BYTES = 12
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
MAX_UNENDED = 8  # of all clients
MAX_FILES = 20_000  # of an archive
UNPACKED = 4  # times the bytes of the largest archive, for what is in it
MAX_LOG_BYTES = 2**20  # of the end of a log
RETRY_SECONDS = 30


class Trainings:
    """The trainings of an installation, in the folder of LEXISEG_TRAININGS."""

    def __init__(self, root: Path, settings: Settings, use_case: UseCase) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._folder = TrainingFolder(root)
        self._max_bytes = UNPACKED * settings.job_archive_bytes
        self._use_case = use_case

    async def create(self, asked: TrainingInput, archive: BinaryIO, caller: Caller) -> tuple[Training, Standing]:
        """A new training, which a trainer takes when those before it have ended.

        Raises:
            InvalidValue: the archive cannot be unpacked, or the name is taken or is none.
            UnknownModel: there is no model to start from.
            RateLimited: too many trainings wait.
        """
        if not NAME.fullmatch(asked.name):
            raise InvalidValue.of("name", asked.name, "1 to 64 of a-z, 0-9 and -, not beginning with -")
        cards = self._use_case.backend.cards()
        find_card(asked.start, cards)
        before = await asyncio.to_thread(self._all)
        unended = [training for training, standing in before if standing.state not in ENDED]
        if asked.name in {card.name for card in cards} | {training.name for training in unended}:
            raise InvalidValue.of("name", asked.name, "a name that no model and no other training has")
        if len(unended) >= MAX_UNENDED:
            raise RateLimited(f"{MAX_UNENDED} trainings have not ended, the limit", RETRY_SECONDS)
        training = Training(secrets.token_hex(ID_BYTES), caller.owner, asked.name, asked.start, time.time())
        await asyncio.to_thread(self._write, training, archive)
        return training, Standing()

    def _write(self, training: Training, archive: BinaryIO) -> None:
        folder = self._folder.path(training.id)
        try:
            unpack(archive, folder / PICTURES, MAX_FILES, self._max_bytes)
            self._folder.add(training)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                reason = error.strerror or error
                raise NotReady(f"the pictures cannot be kept now: {reason}", RETRY_SECONDS) from None
            raise

    def _all(self) -> list[tuple[Training, Standing]]:
        return [(training, self._folder.standing(training.id)) for training in self._folder.all()]

    async def find(self, identity: str, caller: Caller) -> tuple[Training, Standing]:
        """A training of a caller, and where it stands.

        Raises:
            UnknownTraining: no such training of that key.
        """
        training = await asyncio.to_thread(self._folder.find, identity)
        if training is None or not (training.owner == caller.owner or caller.admin):
            raise UnknownTraining("there is no such training of this key; it may have been removed")
        return training, await asyncio.to_thread(self._folder.standing, identity)

    async def list_all(self, caller: Caller) -> list[tuple[Training, Standing]]:
        """The trainings of a caller, the oldest first."""
        return [each for each in await asyncio.to_thread(self._all) if each[0].owner == caller.owner]

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
        trainings = await self.list_all(caller)
        for training, _ in trainings:
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
            "detail": standing.detail,
            "figures": standing.figures,
        }


def _end_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_LOG_BYTES))
            return file.read()
    except OSError:  # not begun
        return b""
