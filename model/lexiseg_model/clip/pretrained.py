"""Image and text towers of the transformers library, with the tokenizer that a model directory keeps."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from lexiseg_model.catalogue.transformers_model import Tokens
from lexiseg_model.clip.images import Padding, normalise
from lexiseg_model.clip.patch_text import ImageTower, PatchTextSettings
from lexiseg_model.clip.text import ChunkedTower, rows_digest
from lexiseg_model.clip.vision import patch_map


class TokenSettings(PatchTextSettings):
    """Settings of a card with a text tower of transformers; an import fills them in."""

    tokens: int = Field(gt=0, description="tokens of a text, padding included")
    padding: int = Field(ge=0, description="the token that fills a text up")


class PretrainedImageTower(ImageTower):
    """A vision transformer of transformers.

    Args:
        model: gives `last_hidden_state`: tokens of patches, row by row, after others.
        settings: of the card.
        n_prefix_tokens: class and register tokens before the patches.
    """

    def __init__(self, model: Any, settings: TokenSettings, n_prefix_tokens: int) -> None:
        super().__init__()
        self.model = model
        self.multiple = int(model.config.patch_size)
        self._normalisation = settings.normalisation
        self._n_prefix_tokens = n_prefix_tokens

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Patches [N, C, h, w] as the model gives them, float32, of tiles uint8 [N, 3, s, t]."""
        padding = Padding.to_multiple((tiles.shape[2], tiles.shape[3]), self.multiple)
        images = padding.add(normalise(tiles, self._normalisation)).to(self.model.dtype)
        tokens = self.model(pixel_values=images).last_hidden_state[:, self._n_prefix_tokens :]
        grid = (images.shape[2] // self.multiple, images.shape[3] // self.multiple)
        return (patch_map(tokens, grid).float(),)


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
