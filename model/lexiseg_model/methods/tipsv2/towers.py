"""TIPSv2's image and text towers from transformers, with one embedding space."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lexiseg_model.catalogue.transformers_model import TOKENIZER, build_network
from lexiseg_model.clip.pretrained import PretrainedImageTower, PretrainedTextTower, TokenSettings

NAME = "TIPSv2"
TEXT_SIDE = ("text_model.", TOKENIZER)


class TipsSettings(TokenSettings):
    """Settings of a TIPSv2 card."""

    config: dict[str, Any] = Field(description="of `transformers.Tipsv2Model`, as the checkpoint has it")


def build_tips(settings: TipsSettings, state: dict[str, Tensor]) -> Any:
    """Build transformers' `Tipsv2Model` with the weights of a flat state.

    Raises:
        ForeignWeightsError: the weights belong to another network.
    """
    from transformers import Tipsv2Config, Tipsv2Model  # optional, and slow to import

    return build_network(Tipsv2Model, Tipsv2Config(**settings.config), state, NAME)


class TipsImageTower(PretrainedImageTower):
    """Patch tokens after the last norm, without class and register tokens."""

    def __init__(self, vision_model: Any, settings: TipsSettings) -> None:
        super().__init__(vision_model, settings, 1 + vision_model.config.num_register_tokens)

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Unit vectors [N, D, h, w] of tiles uint8 [N, 3, s, t]."""
        return (F.normalize(super().forward(tiles)[0], dim=1),)


class TipsTextTower(PretrainedTextTower):
    """Text tower; a text's row [D] is the mean of its tokens after the last norm."""

    def __init__(self, text_model: Any, settings: TipsSettings, state: dict[str, Tensor], device: torch.device) -> None:
        text_state = {name: value for name, value in state.items() if name.startswith(TEXT_SIDE)}
        super().__init__(NAME, text_model, settings.config["text_config"], settings, text_state, device)

    def rows(self, tokens: Tensor) -> Tensor:
        mask = (tokens != self._padding).long()
        rows: Tensor = self._model(input_ids=tokens, attention_mask=mask).pooler_output
        return rows
