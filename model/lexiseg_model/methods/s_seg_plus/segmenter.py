"""`s-seg-plus` as a Segmenter for the classes that the student was trained on, by name.

Features: `logits` [K, h, w] of all trained classes at stride 4, and `guide` uint8 [3, H, W], the canvas. A text's row
is the one-hot vector of its class; any other text has zeros, and its class is found nowhere.
"""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.weights import WEIGHTS, for_inference, image_digest, read_weights, settings_of
from lexiseg_model.clip import windowed
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.text_side import AS_IT_IS, TextSide, WithTexts
from lexiseg_model.errors import WeightsError
from lexiseg_model.export.exportable import TorchPass
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures
from lexiseg_model.methods.s_seg_plus.network import SSegPlusSettings, Student
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import RowsOf, TextBank, TextRows, Unfamiliar
from lexiseg_model.types import ClassEntry, Refinement
from lexiseg_model.vocabulary.class_names import BACKGROUND

NOWHERE = -1e3  # logit of an unknown class


class OneHotRows:
    """Rows [S, K] of texts by K classes: 1 for the class that a text names."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.index = {_known_as(name): index for index, name in enumerate(classes)}
        self.width = len(classes)
        self.digest = hashlib.sha256(repr(("s-seg-plus", classes)).encode()).hexdigest()[:16]

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self.width), np.float32)
        for row, text in enumerate(texts):
            if (index := self.index.get(_known_as(text))) is not None:
                rows[row, index] = 1
        return rows


class SSegPlusSegmenter(WithTexts, TorchPass):
    """S-Seg+ student on one device."""

    def __init__(
        self, network: Student, settings: SSegPlusSettings, card: ModelCard, digest: str, execution: Execution
    ) -> None:
        self.card, self.digest = card, digest
        self.settings = settings
        self._execution = execution
        self.network = network.to(execution.device, execution.dtype)
        rows = OneHotRows(settings.classes)
        self._index = rows.index
        self._text = TextSide(rows, AS_IT_IS, "rows", execution.device, execution.precision)
        self.text_digest = rows.digest
        side = round(card.input.short_side / card.input.multiple) * card.input.multiple
        self.buckets = ((side, side),)

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        return windowed.plan_windows(rgb, self.card.input, None, None, options, "fast")

    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        logits = self.network(normalise(tiles, "imagenet").to(self._execution.dtype))
        return windowed.as_kept((logits,), self._execution.precision)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        tensors = {"logits": tile_features[0][0], "guide": windowed.canvas_of(plan)}
        return Features(plan.size, tensors, windowed.layout_of(plan))

    def guide(self, features: Features) -> Tensor:
        return normalise(features.tensors["guide"].to(self._execution.device)[None], "imagenet")[0]

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """Rows with a further column for unknown texts, which all have the same meaning."""
        unknown = ~rows.any(1, keepdims=True)
        return np.concatenate([rows, unknown], 1).astype(np.float32)

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Logits of the requested classes; unknown ones have a very low logit."""
        logits = features.tensors["logits"].float()
        scores = torch.einsum("tk,khw->thw", bank.vectors, logits)
        scores[~bank.vectors.any(1)] = NOWHERE
        return bank.best_of_texts(scores)

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """Logit of the trained background, or the level of a threshold on the probability among requested classes."""
        if threshold is not None:
            return logits.logsumexp(0) + float(np.log(max(threshold, 1e-6)))
        if features is None or self.settings.classes[0] != BACKGROUND or refine != "none":
            return logits.new_tensor(NOWHERE)
        background: Tensor = features.tensors["logits"][0].float()
        return background

    def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        """Classes that the student was not trained on."""
        strange = []
        for index, entry in enumerate(classes):
            if not any(_known_as(text) in self._index for text in entry.texts):
                [close] = difflib.get_close_matches(_known_as(entry.name), self._index, 1, 0.0)
                strange.append(Unfamiliar(index, self.settings.classes[self._index[close]], 0.0, 1.0))
        return strange


def _known_as(text: str) -> str:
    """The form in which names are compared: lower case, with single spaces."""
    return " ".join(text.lower().replace("_", " ").split())


def load(folder: Path, card: ModelCard, execution: Execution) -> SSegPlusSegmenter:
    """Load a model directory (`weights.safetensors` and a card)."""
    settings = settings_of(card, SSegPlusSettings)
    if not settings.classes or card.embedding != len(settings.classes):
        raise WeightsError(
            f"{folder}: the card has {len(settings.classes)} classes and says embedding {card.embedding}"
        )
    network = restore(read_weights(folder / WEIGHTS, card.weights_sha256), settings)
    return SSegPlusSegmenter(network, settings, card, image_digest(card, str(card.weights_sha256)), execution)


def restore(state: dict[str, Tensor], settings: SSegPlusSettings) -> Student:
    """Build a student in evaluation mode."""
    network = Student(settings.model_copy(update={"drop_path": 0.0}))
    return for_inference(network, f"S-Seg+ over {settings.backbone}", state)
