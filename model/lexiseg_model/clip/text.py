"""Strings through a text transformer: a string has the same bits in any batch.

Kernels choose the order of their sums by shape, not by content. So strings pass in chunks of one fixed shape, short
of strings filled up, on one thread each; chunks go side by side over the cores. A transformer that reads from left to
right up to an end mark does not see what stands behind it: that is cut off, which is most of the 77 places.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transformer import QuickGELU, TextTransformer
from torch import Tensor, nn

from lexiseg_model.clip.towers import ClipTowers, tokenizer

CHUNK = 8  # strings of a pass on a CPU; more are no faster per string there
GPU_CHUNK = 256
LENGTHS = 4  # lengths are rounded up to multiples of it, so that most strings find company
# Capitals, an accent, markup, a number: two tokenizers that agree on it have one vocabulary and one cleaning.
PROBE = "An astronaut's  HAT &amp; 2 dogs, naïve café; itap-of déjà vu 2023!"


def encode_in_chunks(
    tokens: Tensor,
    forward: Callable[[Tensor], Tensor],
    width: int,
    device: torch.device,
    *,
    end_marked: bool,
) -> NDArray[np.float32]:
    """Rows [S, width] of token numbers [S, L], in order.

    Args:
        tokens: of all strings, on the CPU.
        forward: token numbers [B, l] on `device` -> rows [B, width]; called from several threads on a CPU.
        width: of a row.
        device: where `forward` computes.
        end_marked: `forward` reads up to the largest number of each string, so that l may be less than L.
    """
    rows = np.empty((len(tokens), width), np.float32)
    chunks = _chunks(tokens, CHUNK if device.type == "cpu" else GPU_CHUNK, device.type == "cpu", end_marked)
    if device.type == "cpu":
        with ThreadPoolExecutor(torch.get_num_threads(), "text", lambda: torch.set_num_threads(1)) as cores:
            rows_of_chunks = list(cores.map(lambda chunk: forward(tokens[chunk[0], : chunk[1]]), chunks))
    else:
        rows_of_chunks = [forward(tokens[members, :length].to(device)) for members, length in chunks]
    for (members, _), part in zip(chunks, rows_of_chunks, strict=True):
        rows[members] = part.cpu().numpy()
    return rows


def end_states(transformer: Any, tokens: Tensor) -> Tensor:
    """State of the end mark after the last norm: token numbers [B, L] -> [B, width].

    Args:
        transformer: open_clip's, or the text side of its CLIP: from left to right, and the end mark has the largest
            number of all tokens. (open_clip is untyped.)
        tokens: at most as long as its context; what is behind the end mark may be missing.
    """
    length = tokens.shape[1]
    hidden = transformer.token_embedding(tokens) + transformer.positional_embedding[:length]
    hidden = transformer.transformer(hidden, attn_mask=transformer.attn_mask[:length, :length])
    last = hidden[torch.arange(len(tokens), device=tokens.device), tokens.argmax(1)]
    states: Tensor = transformer.ln_final(last)
    return states


def rows_digest(settings: object, state: Mapping[str, Tensor]) -> str:
    """Digest of all that decides a text tower's rows; 16 hexadecimal digits.

    Args:
        settings: settings that no weight shows, the tokens of `PROBE` among them; its `repr` says all of it.
        state: weights by name.
    """
    total = hashlib.sha256(repr(settings).encode())
    for name, value in sorted(state.items()):
        total.update(f"{name} {list(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().numpy().data)
    return total.hexdigest()[:16]


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


HEAD_WIDTH = 64
CONTEXT = 77  # tokens of a text
VOCABULARY = 49_408  # of byte pairs


def fresh_text_tower(width: int, layers: int) -> TextTransformer:
    """Tokens [S, 77] to rows [S, width]: the state of the end mark after the last norm, no projection.

    Causal attention and QuickGELU; weights as CLIP draws them.
    """
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
    """int64 [S, 77]; a text that is too long loses its tail, its end mark stays."""
    tokens: Tensor = open_clip.tokenize(texts, context_length=CONTEXT)
    return tokens


class TextTower:
    """Rows [S, width] float32 of a CLIP model, and the `digest` for caching them.

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
