"""CLIP's text tower: strings to raw rows, not normalised, the same bits whatever company a string comes in.

Kernels choose the order of their sums by shape, not by content. So strings pass in chunks of one fixed shape, short
of strings filled up, on one thread each; chunks go side by side over the cores. CLIP's own tower reads from left to
right: what stands behind a string's end does not matter, and is cut off, which is most of the 77 places.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.clip.towers import ClipTowers

CHUNK = 8  # strings of a pass on a CPU; more are no faster per string there
GPU_CHUNK = 256
LENGTHS = 4  # lengths are rounded up to multiples of it, so that most strings find company
# Capitals, an accent, markup, a number: two tokenizers that agree on it have one vocabulary and one cleaning.
PROBE = "An astronaut's  HAT &amp; 2 dogs, naïve café; itap-of déjà vu 2023!"


class TextTower:
    """Rows [S, width] float32 of a CLIP model, and the `digest` under which they may be kept.

    Models whose text towers have the same weights, settings and tokenizer share a digest, whatever their image tower.
    """

    def __init__(self, towers: ClipTowers, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._model: Any = towers.model.to(self._device)  # open_clip is untyped
        self._tokenize: Callable[..., Tensor] = open_clip.get_tokenizer(towers.architecture)
        self._end_marked = isinstance(towers.model, open_clip.CLIP) and towers.model.text_pool_type == "argmax"
        self.digest = _digest(towers, self._tokenize([PROBE]))
        self.width: int = open_clip.get_model_config(towers.architecture)["embed_dim"]

    def tokens(self, texts: list[str]) -> Tensor:
        """Token numbers [S, 77]; a string that is too long loses its tail, its end mark stays."""
        return self._tokenize(texts)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), width], in the order of `texts`, as the tower gives them (not of unit length)."""
        rows = np.empty((len(texts), self.width), np.float32)
        if not texts:
            return rows
        tokens = self.tokens(texts)
        chunks = self._chunks(tokens)
        if self._device.type == "cpu":
            with ThreadPoolExecutor(torch.get_num_threads(), "text", lambda: torch.set_num_threads(1)) as cores:
                found = list(cores.map(lambda chunk: self._forward(tokens[chunk[0], : chunk[1]]), chunks))
        else:
            found = [self._forward(tokens[members, :length]) for members, length in chunks]
        for (members, _), part in zip(chunks, found, strict=True):
            rows[members] = part.cpu().numpy()
        return rows

    def _chunks(self, tokens: Tensor) -> list[tuple[list[int], int]]:
        """(members, length) of every pass; the last members of a length are repeated to fill a chunk."""
        context = tokens.shape[1]
        by_length: dict[int, list[int]] = defaultdict(list)
        ends = tokens.argmax(1) + 1 if self._end_marked else torch.full((len(tokens),), context)
        for index, end in enumerate(ends.tolist()):
            by_length[min(context, -(-end // LENGTHS) * LENGTHS)].append(index)
        size = CHUNK if self._device.type == "cpu" else GPU_CHUNK
        chunks = []
        for length, members in sorted(by_length.items()):
            for start in range(0, len(members), size):
                some = members[start : start + size]
                filled = some + [some[-1]] * (size - len(some)) if self._device.type == "cpu" else some
                chunks.append((filled, length))
        return chunks

    @torch.inference_mode()
    def _forward(self, tokens: Tensor) -> Tensor:  # [B, L] -> [B, width]
        tokens = tokens.to(self._device)
        model = self._model
        if not self._end_marked:
            rows: Tensor = model.encode_text(tokens)
            return rows.float()
        length = tokens.shape[1]
        hidden = model.token_embedding(tokens) + model.positional_embedding[:length]
        hidden = model.transformer(hidden, attn_mask=model.attn_mask[:length, :length])
        # The end mark has the largest number of all tokens.
        last = hidden[torch.arange(len(tokens), device=self._device), tokens.argmax(1)]
        last = model.ln_final(last)
        projection = model.text_projection
        projected: Tensor = projection(last) if isinstance(projection, nn.Linear) else last @ projection
        return projected.float()


def _digest(towers: ClipTowers, probe: Tensor) -> str:
    """Names weights, settings and tokenizer of a text tower; 16 hexadecimal digits."""
    settings = dict(open_clip.get_model_config(towers.architecture)["text_cfg"])
    total = hashlib.sha256(repr((sorted(settings.items()), towers.quick_gelu, probe.tolist())).encode())
    for name, value in sorted(towers.state.items()):
        if not name.startswith(("visual.", "logit_")):
            total.update(f"{name} {list(value.shape)}".encode())
            total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]
