"""CLIP's text tower: strings to raw rows, not normalised, the same bits whatever company a string comes in."""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.clip.text_pass import PROBE, encode_in_chunks, end_states, rows_digest
from lexiseg_model.clip.towers import ClipTowers, tokenizer


class TextTower:
    """Rows [S, width] float32 of a CLIP model, and the `digest` under which they may be kept.

    Models whose text towers have the same weights, settings and tokenizer share a digest, whatever their image tower.
    """

    def __init__(self, towers: ClipTowers, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._model: Any = towers.model.to(self._device)  # open_clip is untyped
        self._tokenize = tokenizer(towers.architecture)
        self._end_marked = isinstance(towers.model, open_clip.CLIP) and towers.model.text_pool_type == "argmax"
        self.digest = _digest(towers, self._tokenize([PROBE]))
        self.width: int = open_clip.get_model_config(towers.architecture)["embed_dim"]

    def tokens(self, texts: list[str]) -> Tensor:
        """Token numbers [S, 77]; a string that is too long loses its tail, its end mark stays."""
        return self._tokenize(texts)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), width], in the order of `texts`, as the tower gives them (not of unit length)."""
        if not texts:
            return np.empty((0, self.width), np.float32)
        return encode_in_chunks(
            self.tokens(texts), self._forward, self.width, self._device, end_marked=self._end_marked
        )

    @torch.inference_mode()
    def _forward(self, tokens: Tensor) -> Tensor:  # [B, L] -> [B, width]
        if not self._end_marked:
            rows: Tensor = self._model.encode_text(tokens)
            return rows.float()
        last = end_states(self._model, tokens)
        projection = self._model.text_projection
        projected: Tensor = projection(last) if isinstance(projection, nn.Linear) else last @ projection
        return projected.float()


def _digest(towers: ClipTowers, probe: Tensor) -> str:
    settings = dict(open_clip.get_model_config(towers.architecture)["text_cfg"])
    state = {name: value for name, value in towers.state.items() if not name.startswith(("visual.", "logit_"))}
    return rows_digest((sorted(settings.items()), towers.quick_gelu, probe.tolist()), state)
