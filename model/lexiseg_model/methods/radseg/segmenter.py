"""Segmenter of `radseg`: average window patches, aggregate them over the image (SCGA), compare them with texts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.importing import open_weights
from lexiseg_model.catalogue.transformers_model import TEXT_FILES, build_network, require_transformers
from lexiseg_model.catalogue.weights import image_digest, settings_of, under
from lexiseg_model.clip import windowed
from lexiseg_model.clip.images import Normalisation
from lexiseg_model.clip.patch_text import (
    MAX_SCORES_AT_FULL_SIZE,
    MIN_PROBABILITY,
    PatchTextSegmenter,
    require_embedding,
)
from lexiseg_model.clip.pretrained import PretrainedImageTower, PretrainedTextTower, TokenSettings
from lexiseg_model.features import Features, Layout, Plan, TileFeatures
from lexiseg_model.methods.radseg.head import NAME, head_of
from lexiseg_model.methods.radseg.import_ import HEAD, RADIO, TEXTS, Options, read, read_texts_repository
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import Segmenter, TextBank
from lexiseg_model.types import ModelCard, Refinement

SCALE = 10  # of cosines, before the softmax of SCRA and of SCGA
ABSENT = -1e3  # logit of a class whose probability is low at every pixel
# By backbone: its checkpoint on the hub, which names its SigLIP 2 teacher.
FILES = {"nvidia/C-RADIOv3-B": "c-radio_v3-b_half.pth.tar", "nvidia/C-RADIOv4-H": "c-radio_v4-h_half.pth.tar"}


class RadSettings(TokenSettings):
    """Settings of a RADSeg card; both configurations are read from the checkpoints."""

    normalisation: Normalisation = "clip"
    present: float = Field(0.5, ge=0, le=1, description="probability that a class must have somewhere to compete")
    config: dict[str, Any] = Field(description="configuration of `transformers.RadioModel`")
    text_config: dict[str, Any] = Field(description="configuration of `transformers.SiglipTextModel`")


class RadImageTower(PretrainedImageTower):
    """C-RADIO with a recursive last attention (SCRA): its patches before the head, as windows are averaged first."""

    def __init__(self, settings: RadSettings, state: dict[str, Tensor]) -> None:
        """Build the tower. Raises WeightsError if the weights belong to another network."""
        from transformers import RadioConfig, RadioModel  # optional, and slow to import

        radio = build_network(RadioModel, RadioConfig(**settings.config), under(RADIO, state), NAME)
        super().__init__(radio, settings, radio.config.num_summary_tokens)
        radio.make_preprocessor_external()
        radio.encoder.layer[-1].attention.register_forward_hook(_attend_again)
        self.head = head_of(under(HEAD, state))

    def to_text_space(self, maps: Tensor) -> Tensor:
        """Unit vectors [D, h, w] in the text space of the patches [C, h, w] of a whole image.

        Global aggregation (SCGA): each patch is averaged with those whose cosine with it is above the mean.
        """
        tokens = maps.flatten(1).T  # [h*w, C]
        units = F.normalize(tokens, dim=1)
        cosines = units @ units.T
        tokens = _shares(cosines - cosines.mean()) @ tokens
        rows = F.normalize(self.head(tokens.to(self.model.dtype)).float(), dim=1)
        return rows.T.reshape(-1, *maps.shape[1:])


class RadSegmenter(PatchTextSegmenter):
    """RADSeg on one device. `class_scores` are log probabilities divided by `probability_scale`."""

    settings: RadSettings
    tower: RadImageTower
    competing = Segmenter.competing  # the texts of a class have competed
    whole_patches = True  # windows are averaged patch by patch

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
        logits = next(self.cosines(features, bank.vectors)) * self.probability_scale
        if bank.levels is not None:
            logits = logits + bank.levels[:, None, None]
        probability = bank.best_of_texts(logits).softmax(0)
        height, width = canvas = windowed.layout_of(features).canvas
        step = 1 if self._execution.precision == "exact" else windowed.LATTICE
        size = features.size if step == 1 else (height // step, width // step)
        size = canvas if bank.n_classes * math.prod(size) > MAX_SCORES_AT_FULL_SIZE else size
        probability = windowed.resize(probability, size)
        scores = probability.clamp_min(MIN_PROBABILITY).log()
        scores[probability.amax((1, 2)) < self.settings.present] = ABSENT
        return scores / self.probability_scale

    def background_score(
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
    from open_clip.tokenizer import canonicalize_text  # after lexiseg_model.clip has declared operators
    from transformers import SiglipTextConfig, SiglipTextModel  # optional, and slow to import

    card, state, digest = open_weights(folder, card, lambda: read(require_weights(card)))
    settings = settings_of(card, RadSettings)
    own, config = under(TEXTS, state), settings.text_config
    model = build_network(SiglipTextModel, SiglipTextConfig(**config), own, NAME)
    texts = PretrainedTextTower(NAME, model, config, settings, own, execution.device, canonicalize_text)
    require_embedding(card, texts)
    tower = RadImageTower(settings, state)
    return RadSegmenter(tower, texts, settings, card, image_digest(card, digest), execution)


def require_weights(card: ModelCard) -> Options:
    """Fetch the weights for a card that names none. Raises WeightsError if they cannot be fetched."""
    require_transformers(NAME)
    model = available()[card.name]
    file = FILES[str(model.hub)]
    checkpoint = fetch_folder(model, ((file,),)) / file
    texts = read_texts_repository(checkpoint)
    return Options(checkpoint=checkpoint, texts=fetch_folder(model.model_copy(update={"hub": texts}), TEXT_FILES))


def _attend_again(attention: Any, arguments: tuple[Tensor], output: tuple[Tensor, Any]) -> tuple[Any, None]:
    """Forward hook of SCRA: each head's outputs attend to similar outputs of the same head; all are [N, L, C]."""

    def heads(tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:2], -1, attention.head_dim).transpose(1, 2)  # [N, heads, L, C / heads]

    units = F.normalize(heads(output[0]), dim=-1)
    mixed = _shares(units @ units.mT) @ heads(attention.v_proj(arguments[0]))
    return attention.o_proj(mixed.transpose(1, 2).flatten(2)), None


def _shares(likeness: Tensor) -> Tensor:
    """Weights [..., L, L] whose rows sum to 1, of likeness [..., L, L]; negative likeness has none."""
    return (likeness * SCALE).masked_fill(likeness < 0, -torch.inf).softmax(-1)
