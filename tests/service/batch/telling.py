"""A backend whose masks follow from everything that is asked, and what its questions may name."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import httpx
import numpy as np

from lexiseg_labels.masks import rle
from lexiseg_model.cards import ModelCard
from lexiseg_model.types import ClassEntry, Rle, Segment
from lexiseg_service.question.backend import Exemplified
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from tests.service.batch.http.asking import PNG
from tests.service.gateway.known_backend import KnownBackend, answer

SIDE = 32


@dataclass
class Telling(KnownBackend):
    """One segment for each class, whose pixels follow from all that is asked of it; `open_for` images, then none."""

    open_for: float = float("inf")
    version: str = "1"
    held: bool = False
    answered: list[str] = field(default_factory=list)  # names of models

    def cards(self) -> list[ModelCard]:
        return [card.model_copy(update={"version": self.version}) for card in super().cards()]

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.asked.append(request)
        while len(self.answered) >= self.open_for:
            self.held = True
            await asyncio.sleep(0.005)
        self.answered.append(request.model)
        segments = [_segment(request, place, entry) for place, entry in enumerate(request.vocabulary.classes)]
        return replace(answer(), size=(SIDE, SIDE), segments=tuple(segments), model_digest=self.weights)

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        exemplified = await super().exemplify(request)
        return replace(exemplified, picture=PNG) if request.keep_picture else exemplified


def _segment(request: WorkerRequest, place: int, entry: ClassEntry) -> Segment:
    asked = (entry, request.vocabulary.background, request.threshold, request.language)
    corner = 1 + sha256(repr(asked).encode()).digest()[0] % (SIDE - 1)
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[:corner, :corner] = True
    mask = Rle((SIDE, SIDE), rle.encode(pixels), corner**2, (0, 0, corner, corner))
    return Segment(place + 1, entry.name, place, 0.9, mask)


def vocabulary(*classes: Any, **fields: Any) -> Callable[[httpx.Client], httpx.Response]:
    """A vocabulary that the classes replace; none is deleted."""
    if not classes:
        return lambda client: client.delete("/v1/vocabularies/mine")
    return lambda client: client.put("/v1/vocabularies/mine", json={"classes": classes, **fields})


def head(*boxes: list[int]) -> Callable[[httpx.Client], httpx.Response]:
    """A head that reviewed pictures correct, each with a mug in a box; without any it is deleted."""
    if not boxes:
        return lambda client: client.delete("/v1/heads/mugs")
    shown = [
        {"image": {"id": f"{number}" * 32}, "objects": [{"class": "mug", "box": box}]}
        for number, box in enumerate(boxes)
    ]
    return lambda client: client.put("/v1/heads/mugs", json={"classes": ["spoon", "mug"], "pictures": shown})
