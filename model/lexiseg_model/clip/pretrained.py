"""Text towers of the transformers library, with the tokenizer that a model directory keeps beside the weights."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from lexiseg_model.catalogue.transformers_model import Tokens
from lexiseg_model.clip.patch_text import PatchTextSettings
from lexiseg_model.clip.text import ChunkedTower, rows_digest


class TokenSettings(PatchTextSettings):
    """Settings of a card with a text tower of transformers; an import fills them in."""

    tokens: int = Field(gt=0, description="of a text, padding included")
    padding: int = Field(ge=0, description="the token that fills a text up")


class PretrainedTextTower(ChunkedTower):
    """A text tower of transformers; a text's row [D] is its `pooler_output`."""

    def __init__(
        self,
        what: str,
        model: Any,
        config: Any,
        settings: TokenSettings,
        state: dict[str, Tensor],
        device: torch.device,
    ) -> None:
        """Place the model on the device and read its tokenizer.

        Raises:
            WeightsError: the state has no tokenizer.
        """
        self.device = device
        self.width = int(getattr(model.config, "projection_size", model.config.hidden_size))
        self.digest = rows_digest((what, config, settings.tokens, settings.padding), state)
        self._model = model.to(device)
        self._padding = settings.padding
        self._tokenize = Tokens(state, settings.tokens, settings.padding, what)

    def tokens(self, texts: list[str]) -> Tensor:
        tokens, _ = self._tokenize(texts)
        return tokens

    def rows(self, tokens: Tensor) -> Tensor:
        rows: Tensor = self._model(input_ids=tokens).pooler_output
        return rows
