"""MiniLM sentence encoder (all-MiniLM-L6-v2): a six-layer BERT, mean-pooled to one unit row per string.

The weights and the tokenizer are files that `tower_files` finds; no library of their makers' is needed: this module
reads the safetensors file itself.
Architecture: BERT (Devlin et al., 2019), 384 wide, 12 heads; pooling as on the model's card.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from lexiseg_model.methods.tiny.words.tower_files import SHA256, TOKENIZER, WEIGHTS, check, tower_folder

WIDTH = 384
HEADS = 12
LAYERS = 6
MAX_TOKENS = 128
EPSILON = 1e-12  # of every layer norm
BATCH = 64


class MiniLM:
    """Sentence encoder on the CPU: strings in, unit rows out.

    `digest` names the weights, so that cached rows are never mixed with another tower's.
    """

    digest = SHA256[WEIGHTS][:16]
    width = WIDTH

    def __init__(self, folder: Path) -> None:
        check(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()  # the file asks for it
        with safe_open(folder / WEIGHTS, framework="pt") as archive:
            self._weights: dict[str, Tensor] = {
                name: archive.get_tensor(name) for name in archive.keys() if "position_ids" not in name
            }

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), 384] float32 of unit length, in the order of `texts`.

        A text's row is the same, bit for bit, alone and in any company. Kernels choose the order of their sums by
        shape and number of threads; so texts of one length share a pass without padding, each has matrix products of
        its own (half as dear again as shared ones), and all is done on one thread.
        """
        rows = np.empty((len(texts), WIDTH), np.float32)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        order = sorted(range(len(texts)), key=lambda index: len(tokens[index]))
        with _one_thread():
            for _, alike in groupby(order, key=lambda index: len(tokens[index])):
                chosen = list(alike)
                for start in range(0, len(chosen), BATCH):
                    some = chosen[start : start + BATCH]
                    rows[some] = self.forward(torch.tensor([tokens[index] for index in some])).numpy()
        return rows

    def forward(self, ids: Tensor) -> Tensor:
        """Tokens [B, L] of texts of one length -> unit rows [B, 384]."""
        return self.pooled(self.tokens[ids])

    @property
    def tokens(self) -> Tensor:
        """[V, 384]: the embedding of each token."""
        return self._weights["embeddings.word_embeddings.weight"]

    def pooled(self, tokens: Tensor) -> Tensor:
        """Embedded tokens [B, L, 384] -> unit rows [B, 384]."""
        hidden = (
            tokens
            + self._weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
            + self._weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            hidden = self._block(hidden, f"encoder.layer.{layer}")
        return F.normalize(hidden.mean(1), dim=1)

    def _block(self, hidden: Tensor, prefix: str) -> Tensor:
        count, length, _ = hidden.shape

        def heads(name: str) -> Tensor:  # [B, L, 384] -> [B, 12, L, 32]
            projected = self._linear(hidden, f"{prefix}.attention.self.{name}")
            return projected.view(count, length, HEADS, WIDTH // HEADS).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(heads("query"), heads("key"), heads("value"))
        mixed = mixed.transpose(1, 2).reshape(count, length, WIDTH)
        mixed = self._linear(mixed, f"{prefix}.attention.output.dense")
        hidden = self._norm(hidden + mixed, f"{prefix}.attention.output.LayerNorm")
        inner = F.gelu(self._linear(hidden, f"{prefix}.intermediate.dense"))
        outer = self._linear(inner, f"{prefix}.output.dense")
        return self._norm(hidden + outer, f"{prefix}.output.LayerNorm")

    def _linear(self, rows: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return torch.stack([F.linear(row, weight, bias) for row in rows])  # [L, in] -> [L, out] each

    def _norm(self, rows: Tensor, name: str) -> Tensor:
        return F.layer_norm(rows, (WIDTH,), self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], EPSILON)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch's work on the calling thread; other threads are not concerned."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_text_tower(named: Path | None = None) -> MiniLM:
    """The text tower of the process; 91 MB, read once.

    Raises:
        WeightsError: as of `tower_folder`.
    """
    return _read(tower_folder(named))


@cache
def _read(folder: Path) -> MiniLM:
    return MiniLM(folder)
