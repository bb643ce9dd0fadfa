"""Segmenter of `radseg`: average window patches, aggregate them over the image (SCGA), compare them with texts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.importing import open_weights
from lexiseg_model.catalogue.transformers_model import TEXT_FILES, require_transformers
from lexiseg_model.catalogue.weights import image_digest, settings_of
from lexiseg_model.clip import windowed
from lexiseg_model.clip.patch_text import MAX_SCORES_AT_FULL_SIZE, PatchTextSegmenter, require_embedding
from lexiseg_model.device import Execution
from lexiseg_model.features import Features, InferenceOptions, Layout, Plan, TileFeatures
from lexiseg_model.methods.radseg.import_ import Options, read
from lexiseg_model.methods.radseg.network import NAME, RadImageTower, RadSettings, RadTextTower
from lexiseg_model.segmenter import Competing, Segmenter, TextBank
from lexiseg_model.types import ModelCard, Refinement

MIN_PROBABILITY = 1e-6  # before its logarithm
ABSENT = -1e3  # logit of a class whose probability is low at every pixel
# By backbone: its checkpoint on the hub, and the repository of its SigLIP 2 teacher.
FILES = {
    "nvidia/C-RADIOv3-B": ("c-radio_v3-b_half.pth.tar", "google/siglip2-so400m-patch16-naflex"),
    "nvidia/C-RADIOv4-H": ("c-radio_v4-h_half.pth.tar", "google/siglip2-giant-opt-patch16-384"),
}


class RadSegmenter(PatchTextSegmenter):
    """RADSeg on one device. `class_scores` are log probabilities divided by `probability_scale`."""

    settings: RadSettings
    tower: RadImageTower

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        # Multiples of the patch size in every precision: windows are averaged patch by patch.
        return windowed.plan_windows(rgb, self.card.input, self._window, self._stride, options, precision="fast")

    @torch.inference_mode()
    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        layout = windowed.layout_of(plan)
        merged = windowed.spliced(tile_features[0], layout, self.tower.multiple)
        patches = windowed.as_kept((self.tower.to_text_space(merged)[None],), self._execution.precision)[0]
        tensors = {"patches": patches, "guide": windowed.canvas_of(plan)}
        return Features(plan.size, tensors, Layout(layout.canvas, layout.canvas))

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Softmax over classes per patch; classes below `present` everywhere are left out, as published.

        Exact models upsample the probabilities to the image's size, or to the canvas where memory is short.
        """
        bank = self._fused(features, bank)
        assert features.layout is not None
        logits = next(self.cosines(features, bank.vectors)) * self.probability_scale
        if bank.levels is not None:
            logits = logits + bank.levels[:, None, None]
        probability = bank.best_of_texts(logits).softmax(0)
        step = 1 if self._execution.precision == "exact" else windowed.LATTICE
        height, width = features.layout.canvas
        size = features.size if step == 1 else (height // step, width // step)
        if bank.n_classes * math.prod(size) > MAX_SCORES_AT_FULL_SIZE:
            size = features.layout.canvas
        probability = windowed.resize(probability, size)
        scores = probability.clamp_min(MIN_PROBABILITY).log()
        scores[probability.amax((1, 2)) < self.settings.present] = ABSENT
        return scores / self.probability_scale

    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        return Segmenter.competing(self, features, bank, refine)

    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """The logarithm of the probability threshold."""
        threshold = self.settings.prob_thd if threshold is None else threshold
        return logits.new_tensor(math.log(max(threshold, MIN_PROBABILITY)))


def load(folder: Path, card: ModelCard, execution: Execution) -> RadSegmenter:
    """Load a model directory, or the hub's repositories if the card names no weights.

    Raises:
        WeightsError: transformers is not installed, or the weights are missing, damaged, or of another model.
    """
    require_transformers(NAME)
    card, state, digest = open_weights(folder, card, lambda: read(_fetch(card)))
    settings = settings_of(card, RadSettings)
    texts = RadTextTower(settings, state, execution.device)
    require_embedding(card, texts)
    tower = RadImageTower(settings, state)
    return RadSegmenter(tower, texts, settings, card, image_digest(card, digest), execution)


def require_weights(card: ModelCard) -> None:
    """Fetch the weights for a card that names none. Raises WeightsError if they cannot be fetched."""
    require_transformers(NAME)
    _fetch(card)


def _fetch(card: ModelCard) -> Options:
    model = available()[card.name]
    file, texts = FILES[str(model.hub)]
    folder = fetch_folder(model, ((file,),))
    return Options(checkpoint=folder / file, texts=fetch_folder(model.model_copy(update={"hub": texts}), TEXT_FILES))
