"""A real gateway, by REST and by gRPC, over a backend that answers prompts with masks that can be told beforehand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.cards import ModelCard
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.types import Prompt, Segment
from lexiseg_service.errors import ImageExpired
from lexiseg_service.image.reader import read_header
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.settings import Settings
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend, answer
from tests.service.gateway.serving import on_ports

QUALITIES = (0.9, 0.5)
OVERLAY = pictures.encoded(pictures.small("china", 32))


def shown(prompt: Prompt, size: tuple[int, int]) -> NDArray[np.bool_]:
    """[H, W] the best mask of a prompt: its box, or what lies above and left of its first point."""
    x0, y0, x1, y1 = map(int, prompt.box or (0, 0, prompt.points[0].x, prompt.points[0].y))
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


@dataclass
class Showing(KnownBackend):
    """Each prompt has two masks, the second is the whole image. Forgets every image as soon as it is `forgetful`."""

    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    forgetful: bool = False

    def cards(self) -> list[ModelCard]:
        return [card.model_copy(update={"tasks": ["semantic", "prompt"]}) for card in super().cards()]

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        known = await super().segment(request)
        if request.image is None:
            if self.forgetful or request.image_id not in self.sizes:
                raise ImageExpired("forgotten")
            image_id = request.image_id
        else:
            image_id = str(len(self.sizes))
            self.sizes[image_id] = read_header(request.image, Settings().limits).size
        size = self.sizes[image_id]
        return replace(
            known, image_id=image_id, task=request.task, size=size, segments=_segments(request, size),
            overlay=OVERLAY if request.overlay else None,
        )  # fmt: skip


def _segments(request: WorkerRequest, size: tuple[int, int]) -> tuple[Segment, ...]:
    label = request.vocabulary.classes[0].name if request.vocabulary.classes else None
    segments: list[Segment] = []
    for index, prompt in enumerate(request.prompts):
        for rank, mask in enumerate((shown(prompt, size), np.ones(size, bool))):
            quality = QUALITIES[rank]
            segments.append(
                Segment(
                    id=len(segments) + 1, label=label, class_index=None if label is None else 0, score=quality,
                    mask=encode_mask(mask), prompt_index=index, mask_index=rank, quality=quality,
                )
            )  # fmt: skip
    return tuple(segments) if request.task == "prompt" else answer().segments


class Served(NamedTuple):
    """Where it listens, and who answers."""

    url: str
    grpc: str
    backend: Showing


@contextmanager
def serving() -> Iterator[Served]:
    """Serves until the block ends."""
    backend = Showing()
    with on_ports(backend) as ports:
        yield Served(*ports, backend)
