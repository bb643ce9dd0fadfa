"""The model as the other servers run it: batched image passes, every class upsampled, masks class by class."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.runtimes import Runtime
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import is_thing
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_service.settings import Settings
from loadtests.peers.class_by_class import segments_of

BATCH = 8
WAIT_SECONDS = 0.005

Question = tuple[Any, tuple[str, ...]]  # pixels [H, W, 3] and the classes


def pixels_of(image: bytes) -> Any:
    """RGB pixels [H, W, 3] of an image file."""
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


def load(device: str | None = None, runtime: Runtime | None = None) -> Segmenter:
    """Load the bundled model; device and runtime default to lexiseg's settings, from the same variables."""
    settings = Settings()
    return catalogue.load("tiny", device=device or settings.device, runtime=runtime or settings.runtime)


def vocabulary_of(segmenter: Segmenter, classes: Sequence[str]) -> Vocabulary:
    """The classes of a request with the senses that lexiseg gives their words."""
    return segmenter.explained(Vocabulary(tuple(ClassEntry(name, thing=is_thing(name)) for name in classes)))


class BatchedModel:
    """The bundled model for batches of requests whose images have one size."""

    def __init__(self, device: str | None = None, runtime: Runtime | None = None) -> None:
        self._segmenter = load(device, runtime)
        self._rows = KnownRows(self._segmenter)

    def segments(self, batch: list[Question]) -> list[list[dict[str, Any]]]:
        """The segments of each request."""
        plans = [self._segmenter.plan(rgb) for rgb, _ in batch]
        encoded = self._segmenter.encode_tiles(np.concatenate([plan.tiles for plan in plans]))
        answers = []
        for index, (plan, (_, classes)) in enumerate(zip(plans, batch, strict=True)):
            features = self._segmenter.assemble(plan, tuple(part[index : index + 1] for part in encoded))
            vocabulary = vocabulary_of(self._segmenter, classes)
            with torch.inference_mode():
                scores = score_vocabulary(self._segmenter, features, vocabulary, self._rows)
                labels = F.interpolate(scores[None], size=plan.size, mode="bilinear")[0].argmax(0).cpu().numpy()
            answers.append(segments_of(labels, classes))
        return answers
