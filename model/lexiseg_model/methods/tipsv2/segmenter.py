"""Segmenter of `tipsv2`: cosines of patches with texts over sliding windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.hub import fetch_folder
from lexiseg_model.catalogue.importing import open_weights
from lexiseg_model.catalogue.transformers_model import (
    TEXT_FILES,
    TOKENIZER,
    Tokens,
    build_network,
    require_transformers,
)
from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.clip.images import prepare_tiles
from lexiseg_model.clip.patch_text import ImageTower, PatchTextSegmenter, PatchTextSettings
from lexiseg_model.clip.text import ChunkedTower, rows_digest
from lexiseg_model.clip.vision import patch_map
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tipsv2.import_ import NAME, Options, read
from lexiseg_model.resources.device import Execution

TEXT_SIDE = ("text_model.", TOKENIZER)


class TipsSettings(PatchTextSettings):
    """Settings of a TIPSv2 card; an import fills in the first three."""

    tokens: int = Field(gt=0, description="tokens of a text, padding included")
    padding: int = Field(ge=0, description="the token that fills a text up")
    config: dict[str, Any] = Field(description="configuration of `transformers.Tipsv2Model`, as the checkpoint has it")
    own_values: bool = Field(
        True, description="whether a patch attends to itself alone in the last block, as in the authors' evaluation"
    )


class TipsImageTower(ImageTower):
    """Patch tokens after the last norm, without class and register tokens."""

    def __init__(self, vision_model: Any, settings: TipsSettings) -> None:
        super().__init__()
        self.model = vision_model
        self.multiple = int(vision_model.config.patch_size)
        self._normalisation = settings.normalisation
        self._n_prefix_tokens = 1 + vision_model.config.num_register_tokens
        if settings.own_values:
            vision_model.encoder.layer[-1].attention.register_forward_hook(_own_values)

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Unit vectors [N, D, h, w] of tiles uint8 [N, 3, s, t]."""
        images = prepare_tiles(tiles, self.multiple, self._normalisation, self.model.dtype)
        tokens = self.model(pixel_values=images).last_hidden_state[:, self._n_prefix_tokens :]
        grid = (images.shape[2] // self.multiple, images.shape[3] // self.multiple)
        return (F.normalize(patch_map(tokens, grid).float(), dim=1),)


def _own_values(attention: Any, arguments: tuple[Tensor], _: Any) -> tuple[Tensor, None]:
    """Forward hook: tokens [N, L, C] attend only to themselves; the block's residual and feed-forward layer stay."""
    return attention.o_proj(attention.v_proj(arguments[0])), None


class TipsTextTower(ChunkedTower):
    """Text tower; a text's row [D] is the mean of its tokens after the last norm."""

    def __init__(self, text_model: Any, settings: TipsSettings, state: dict[str, Tensor], device: torch.device) -> None:
        text_state = {name: value for name, value in state.items() if name.startswith(TEXT_SIDE)}
        self.device = device
        self.width = int(text_model.config.hidden_size)
        decides = NAME, settings.config["text_config"], settings.tokens, settings.padding
        self.digest = rows_digest(decides, text_state)
        self._model = text_model.to(device)
        self._padding = settings.padding
        self._tokenize = Tokens(text_state, settings.tokens, settings.padding, NAME)

    def tokens(self, texts: list[str]) -> Tensor:
        return self._tokenize(texts)[0]

    def rows(self, tokens: Tensor) -> Tensor:
        mask = (tokens != self._padding).long()
        rows: Tensor = self._model(input_ids=tokens, attention_mask=mask).pooler_output
        return rows


def load(folder: Path, card: ModelCard, execution: Execution) -> PatchTextSegmenter:
    """Load a model directory, or the hub's repository if the card names no weights."""
    require_transformers(NAME)
    card, state, digest = open_weights(folder, card, lambda: read(require_weights(card)))
    settings = settings_of(card, TipsSettings)
    from transformers import Tipsv2Config, Tipsv2Model  # optional, and slow to import

    network = build_network(Tipsv2Model, Tipsv2Config(**settings.config), state, NAME)
    texts = TipsTextTower(network.text_model, settings, state, execution.device)
    if texts.width != card.embedding:
        raise WeightsError(
            f"{card.name}: the card says embedding {card.embedding}, its weights have {texts.width}; bring those of "
            f"{card.name}, or correct the card"
        )
    tower = TipsImageTower(network.vision_model, settings)
    return PatchTextSegmenter(tower, texts, settings, card, digest, execution)


def require_weights(card: ModelCard) -> Options:
    """Fetch the weights for a card that names none."""
    require_transformers(NAME)
    entry = available()[card.name]
    if entry.hub is None:
        raise WeightsError(f"{card.name} is on no hub; fetch its files (docs/methods.md), then {entry.command}")
    return Options(checkpoint=fetch_folder(entry, TEXT_FILES))
