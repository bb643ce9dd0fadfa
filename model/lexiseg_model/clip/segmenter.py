"""The base of segmenters over a text tower: windows of a canvas, tiles to features, the text side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.method import methods
from lexiseg_model.clip import windowed
from lexiseg_model.clip.text_side import ClassRule, RawRows, TextSide, WithTexts, template_set
from lexiseg_model.errors import WeightsError
from lexiseg_model.export.exportable import Exportable, TorchPass
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import RowsOf, Unfamiliar
from lexiseg_model.types import ClassEntry

MAX_CHECKED = 64  # classes in a list; each costs a few milliseconds, once


def foreign_classes(classes: Sequence[ClassEntry]) -> list[Unfamiliar]:
    """The classes without an English text; lists longer than `MAX_CHECKED` are not checked."""
    if len(classes) > MAX_CHECKED:
        return []
    foreign = [index for index, entry in enumerate(classes) if all(map(_is_foreign, entry.names))]
    return [Unfamiliar(index, "", 0.0, 1.0, is_foreign=True) for index in foreign]


@lru_cache(maxsize=4096)
def _is_foreign(text: str) -> bool:
    try:
        (is_foreign,) = methods()["tiny"].module("words.familiar").foreign([text])
    except WeightsError:  # the detector needs MiniLM, which is not installed
        return False
    return bool(is_foreign)


class ClipSegmenter(WithTexts, Exportable, TorchPass):
    """A method that compares images with a text tower; without a `window`, in pixels, the canvas is one tile."""

    maps: tuple[str, ...]  # names of what the image pass gives
    whole_patches = False  # sides of the canvas are multiples in every precision, not only when fast

    def __init__(
        self,
        card: ModelCard,
        digest: str,
        tower: RawRows,
        templates: str,
        rule: ClassRule,
        window: int | None,
        stride: int | None,
        execution: Execution,
    ) -> None:
        self.card = card
        self.digest = digest
        self._window = window
        self._stride = stride
        self._execution = execution
        self._text = TextSide(tower, template_set(templates), rule, execution.device, execution.precision)
        self.text_digest = tower.digest
        self.buckets = () if window is None else ((window, window),)

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        precision = "fast" if self.whole_patches else self._execution.precision
        return windowed.plan_windows(rgb, self.card.input, self._window, self._stride, options, precision)

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        encoded = None if self._runner is None else self._runner.encode(tiles)
        if encoded is not None:
            return windowed.as_kept(encoded, self._execution.precision)
        return super().encode_tiles(tiles)

    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        return windowed.as_kept(self.image_network()(tiles), self._execution.precision)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        tensors = dict(zip(self.maps, tile_features, strict=False))
        return Features(plan.size, tensors | {"guide": windowed.canvas_of(plan)}, windowed.layout_of(plan))

    def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        return foreign_classes(classes)
