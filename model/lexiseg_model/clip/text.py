"""Text towers that give a string the same bits in any batch.

Kernels choose the order of their sums by shape. So strings pass in chunks of one fixed shape, on one thread each.
Tokens after the end mark, most of the 77 places, are cut off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transformer import QuickGELU, TextTransformer
from torch import Tensor, nn

from lexiseg_model.catalogue.weights import state_digest
from lexiseg_model.clip.towers import ClipTowers, tokenizer

CHUNK = 8  # strings per pass on a CPU; more are not faster per string
GPU_CHUNK = 256
LENGTHS = 4  # lengths are rounded up to multiples of it, so that chunks fill
# Capitals, accents, markup and a number: tokenizers that agree on it have the same vocabulary and cleaning.
PROBE = "An astronaut's  HAT &amp; 2 dogs, naïve café; itap-of déjà vu 2023!"
HEAD_WIDTH = 64  # of a new text transformer
CONTEXT = 77  # tokens of a text
VOCABULARY = 49_408  # of byte pairs


class ChunkedTower(ABC):
    """A text tower that encodes strings in chunks."""

    width: int  # of a row
    digest: str  # of all that decides the rows, for caching them
    device: torch.device  # where `rows` computes
    end_marked = False  # `rows` reads up to the largest number of each string, so columns after it may be missing

    @abstractmethod
    def tokens(self, texts: list[str]) -> Tensor:
        """Token numbers [S, L] on the CPU."""

    @abstractmethod
    def rows(self, tokens: Tensor) -> Tensor:
        """Rows [B, width] of token numbers [B, l] on the device; called from several threads on a CPU."""

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), width], in the order of `texts`, not of unit length."""
        rows = np.empty((len(texts), self.width), np.float32)
        if not texts:
            return rows
        tokens, on_cpu = self.tokens(texts), self.device.type == "cpu"
        chunks = _chunks(tokens, CHUNK if on_cpu else GPU_CHUNK, on_cpu, self.end_marked)
        if on_cpu:
            with ThreadPoolExecutor(torch.get_num_threads(), "text", lambda: torch.set_num_threads(1)) as cores:
                rows_of_chunks = list(cores.map(lambda chunk: self._rows(tokens[chunk[0], : chunk[1]]), chunks))
        else:
            rows_of_chunks = [self._rows(tokens[members, :length].to(self.device)) for members, length in chunks]
        for (members, _), part in zip(chunks, rows_of_chunks, strict=True):
            rows[members] = part.cpu().numpy()
        return rows

    @torch.inference_mode()
    def _rows(self, tokens: Tensor) -> Tensor:
        return self.rows(tokens).float()


def end_states(transformer: Any, tokens: Tensor) -> Tensor:
    """State [B, width] of the end mark, the largest of token numbers [B, L], after the last norm of open_clip's
    transformer."""
    length = tokens.shape[1]
    hidden = transformer.token_embedding(tokens) + transformer.positional_embedding[:length]
    hidden = transformer.transformer(hidden, attn_mask=transformer.attn_mask[:length, :length])
    last = hidden[torch.arange(len(tokens), device=tokens.device), tokens.argmax(1)]
    states: Tensor = transformer.ln_final(last)
    return states


def rows_digest(settings: object, state: Mapping[str, Tensor]) -> str:
    """Digest of what decides a text tower's rows: weights, and `settings`, of which the `repr` is complete."""
    return state_digest(state, repr(settings).encode())[:16]


def _chunks(tokens: Tensor, size: int, fill: bool, end_marked: bool) -> list[tuple[list[int], int]]:
    """(members, length) of every pass; short chunks repeat their last member."""
    context = tokens.shape[1]
    by_length: dict[int, list[int]] = defaultdict(list)
    ends = tokens.argmax(1) + 1 if end_marked else torch.full((len(tokens),), context)
    for index, end in enumerate(ends.tolist()):
        by_length[min(context, -(-end // LENGTHS) * LENGTHS)].append(index)
    chunks = []
    for length, members in sorted(by_length.items()):
        for start in range(0, len(members), size):
            some = members[start : start + size]
            chunks.append((some + [some[-1]] * (size - len(some)) if fill else some, length))
    return chunks


def fresh_text_tower(width: int, layers: int) -> TextTransformer:
    """Untrained text transformer of CLIP: the state [S, width] of the end mark after the last norm, not projected."""
    return TextTransformer(
        context_length=CONTEXT,
        vocab_size=VOCABULARY,
        width=width,
        heads=width // HEAD_WIDTH,
        layers=layers,
        act_layer=QuickGELU,
        proj_type="none",
        pool_type="argmax",  # the end mark has the largest number
    )


def tokenize(texts: list[str]) -> Tensor:
    """Token numbers int64 [S, 77]; texts that are too long are cut before their end mark."""
    tokens: Tensor = open_clip.tokenize(texts, context_length=CONTEXT)
    return tokens


class TextTower(ChunkedTower):
    """Text tower of a CLIP; the digest does not depend on the image tower."""

    def __init__(self, towers: ClipTowers, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self._model: Any = towers.model.to(self.device)  # open_clip is untyped
        self._tokenize = tokenizer(towers.architecture)
        self.end_marked = isinstance(towers.model, open_clip.CLIP) and towers.model.text_pool_type == "argmax"
        settings = dict(open_clip.get_model_config(towers.architecture)["text_cfg"])
        state = {name: value for name, value in towers.state.items() if not name.startswith(("visual.", "logit_"))}
        self.digest = rows_digest(
            (sorted(settings.items()), towers.quick_gelu, self._tokenize([PROBE]).tolist()), state
        )
        self.width = open_clip.get_model_config(towers.architecture)["embed_dim"]

    def tokens(self, texts: list[str]) -> Tensor:
        """Token numbers [S, 77]; strings that are too long are cut before their end mark."""
        return self._tokenize(texts)

    def rows(self, tokens: Tensor) -> Tensor:
        if not self.end_marked:
            rows: Tensor = self._model.encode_text(tokens)
            return rows
        last = end_states(self._model, tokens)
        projection = self._model.text_projection
        projected: Tensor = projection(last) if isinstance(projection, nn.Linear) else last @ projection
        return projected
