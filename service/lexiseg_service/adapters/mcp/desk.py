"""What every tool does first: finds the picture that is spoken of, and asks about it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lexiseg_model.types import Task
from lexiseg_service.errors import InvalidValue, TooLarge
from lexiseg_service.gateway.use_case import Caller, UseCase, find_card
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.findings import validate
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.question.schemas import Question
from lexiseg_service.settings import Settings

BY_ID = "id:"


@dataclass(frozen=True)
class Picture:
    """Its file, or the id of one that was asked about before."""

    content: bytes | None
    image_id: str | None = None


class Desk:
    """Asks the use case for the tools; keys, limits and the guards of URLs are its own."""

    def __init__(self, use_case: UseCase, settings: Settings, folder: Path | None) -> None:
        """`folder` is the one whose files may be read; None: no file at all."""
        self.use_case = use_case
        self._settings = settings
        self._folder = None if folder is None else folder.resolve()

    async def picture(self, image: str, caller: Caller) -> Picture:
        """The picture of a path in the folder, of a URL, or of `id:IMAGE_ID`, for whoever asks.

        Raises:
            ServiceError: there is none, or it may not be had.
        """
        if image.startswith(BY_ID):
            return Picture(None, image.removeprefix(BY_ID))
        if image.startswith(("https://", "http://")):
            return Picture(await self.use_case.fetched(image, caller.client))
        return Picture(await asyncio.to_thread(self._read, image))

    async def ask(
        self, picture: Picture, fields: Mapping[str, Any], caller: Caller, task: Task | None = None
    ) -> WorkerAnswer:
        """The answer to a question; the task where the model can do it, else semantic.

        Raises:
            ServiceError: of any kind.
        """
        sent = {name: value for name, value in fields.items() if value is not None}
        if task is not None:
            able = find_card(sent.get("model") or self._settings.default_model, self.use_case.backend.cards()).tasks
            sent["task"] = task if task in able else "semantic"
        return await self.use_case.segment(Asked(picture.content, validate(Question, sent), picture.image_id), caller)

    def _read(self, name: str) -> bytes:
        if self._folder is None:
            raise InvalidValue.of("image", name, "a URL or id:IMAGE_ID; files are read where LEXISEG_MCP_FOLDER is set")
        try:
            path = (self._folder / name).resolve()
            # Links are followed first: one that leads out of the folder is outside. What is there is told to nobody.
            inside = path.is_relative_to(self._folder) and path.is_file()
        except (OSError, ValueError):
            inside = False
        if not inside:
            raise InvalidValue.of("image", name, f"a picture in {self._folder}, a URL or id:IMAGE_ID")
        size, most = path.stat().st_size, self._settings.limits.max_image_bytes
        if size > most:
            raise TooLarge(f"image: {size:,} bytes, at most {most:,} are taken")
        return path.read_bytes()
