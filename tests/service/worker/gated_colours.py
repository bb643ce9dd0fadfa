"""A model of known answers whose image pass waits at a gate."""

import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.features import TileFeatures
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_service.question.messages import WorkerRequest
from tests import pictures
from tests.model.stand_in import ColourSegmenter, card, picture
from tests.waiting import SOON

SIDE = 16


class GatedColours(ColourSegmenter):
    """Colours whose image pass waits at a gate; `batches` are the tiles of each pass, `threads` who ran it."""

    def __init__(self, name: str = "colours") -> None:
        super().__init__()
        self.card = card(name=name)
        self.digest = name
        self.gate = threading.Event()
        self.gate.set()
        self.reading = threading.Event()  # the text tower's gate
        self.reading.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.failures: list[Exception] = []
        self.most_tiles = 1000  # that fit the memory

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        assert self.reading.wait(SOON)
        return super().encode_texts(texts)

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        self.batches.append(len(tiles))
        self.threads.add(threading.current_thread().name)
        self.entered.release()
        assert self.gate.wait(SOON)
        if self.failures:
            raise self.failures.pop()
        if len(tiles) > self.most_tiles:
            raise torch.OutOfMemoryError
        return super().encode_tiles(tiles)


def halves(left: str, right: str, side: int = SIDE) -> bytes:
    """A square PNG: letters of two colours."""
    return pictures.encoded(Image.fromarray(picture([left * (side // 2) + right * (side // 2)] * side)))


def ask(*classes: str, image: bytes | None = None, model: str = "colours", **options: Any) -> WorkerRequest:
    """A question about an image, red on the left and blue on the right unless said otherwise."""
    vocabulary = Vocabulary(tuple(ClassEntry(name) for name in classes), Background(()))
    return WorkerRequest(image or halves("r", "b"), vocabulary, model, **options)
