"""A text transformer of CLIP's make with fresh weights, and the tokens that it reads."""

from __future__ import annotations

import open_clip
from open_clip.transformer import QuickGELU, TextTransformer
from torch import Tensor

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
