"""The text side of SAM 3: a word is a row of all its tokens, kept as one vector."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from lexiseg_model.catalogue.weights import state_digest
from lexiseg_model.methods.sam3.network import TOKENIZER, Sam3Network
from lexiseg_model.methods.sam3.settings import Sam3Settings

AT_ONCE = 32  # texts
TEXT_SIDE = ("text_encoder.", "text_projection.", TOKENIZER)


class TextRows:
    """Rows [L * C + 1] of texts: their tokens' vectors, then how many tokens are no padding."""

    def __init__(self, network: Sam3Network, settings: Sam3Settings, state: dict[str, Tensor]) -> None:
        self._network = network
        self._settings = settings
        self._tokenizer = Tokenizer.from_str(bytes(state[TOKENIZER].to(torch.uint8).tolist()).decode())
        self._tokenizer.enable_truncation(settings.tokens)
        self._tokenizer.no_padding()
        own = state_digest({name: value for name, value in state.items() if name.startswith(TEXT_SIDE)})
        self.digest = hashlib.sha256(f"sam3 {own} {settings.tokens} {settings.padding}".encode()).hexdigest()[:16]
        self.width = settings.tokens * network.width + 1

    def ids(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Tokens [S, L], and which are no padding."""
        ids = torch.full((len(texts), self._settings.tokens), self._settings.padding)
        valid = torch.zeros(len(texts), self._settings.tokens, dtype=torch.bool)
        for place, encoding in enumerate(self._tokenizer.encode_batch(texts)):
            n = len(encoding.ids)
            ids[place, :n] = torch.tensor(encoding.ids)
            valid[place, :n] = True
        return ids, valid

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """[S, L * C + 1]."""
        rows = np.empty((len(texts), self.width), np.float32)
        for first in range(0, len(texts), AT_ONCE):
            ids, valid = self.ids(texts[first : first + AT_ONCE])
            some = rows[first : first + len(ids)]
            some[:, :-1] = self._network.tokens(ids, valid).flatten(1).cpu().numpy()
            some[:, -1] = valid.sum(1).numpy()
        return rows

    def words(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [T, L * C + 1] -> tokens [T, L, C], and which are no padding [T, L]."""
        valid = torch.arange(self._settings.tokens, device=vectors.device) < vectors[:, -1:]
        return vectors[:, :-1].reshape(-1, self._settings.tokens, self._network.width), valid
