"""S-Seg's text tower: strings to raw rows in the space that masks and texts share."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from lexiseg_model.clip.text import PROBE, encode_in_chunks, end_states, rows_digest, tokenize
from lexiseg_model.methods.s_seg.network import Projector


class SSegTextTower:
    """The transformer and its projector, as CLIP's tower is a transformer and its projection."""

    def __init__(self, transformer: TextTransformer, projector: Projector, device: torch.device) -> None:
        """Both in eval mode; they are moved to the device."""
        self._transformer = transformer.to(device)
        self._projector = projector.to(device)
        self._device = device
        self.width = projector.second.out_features
        state = nn.ModuleDict({"transformer": transformer, "projector": projector}).state_dict()
        # Heads show in no weight's shape.
        self.digest = rows_digest(("s-seg", transformer.heads, tokenize([PROBE]).tolist()), state)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), width], not of unit length, in the order of `texts`."""
        if not texts:
            return np.empty((0, self.width), np.float32)
        return encode_in_chunks(tokenize(texts), self._forward, self.width, self._device, end_marked=True)

    @torch.inference_mode()
    def _forward(self, tokens: Tensor) -> Tensor:  # [B, L] -> [B, width]
        rows: Tensor = self._projector(end_states(self._transformer, tokens))
        return rows
