"""S-Seg's text transformer: CLIP's architecture at a quarter of the size, learned from scratch."""

from __future__ import annotations

import lexiseg_model.clip  # noqa: F401  declares what open_clip's imports look for, so it stands first

# isort: split
import open_clip
from open_clip.transformer import QuickGELU, TextTransformer
from torch import Tensor

from lexiseg_model.methods.s_seg.sizes import SSegSizes

HEAD_WIDTH = 64  # GroupViT's, as CLIP's
CONTEXT = 77  # tokens of a text, CLIP's
VOCABULARY = 49_408  # of CLIP's byte pairs


def text_tower(settings: SSegSizes) -> TextTransformer:
    """Tokens [S, 77] to rows [S, text_width]: the state of the end mark after the last norm, no projection.

    Causal attention and QuickGELU as in GroupViT; fresh weights as CLIP draws them.
    """
    return TextTransformer(
        context_length=CONTEXT,
        vocab_size=VOCABULARY,
        width=settings.text_width,
        heads=settings.text_width // HEAD_WIDTH,
        layers=settings.text_layers,
        act_layer=QuickGELU,
        proj_type="none",
        pool_type="argmax",  # the end mark has the largest number
    )


def tokenize(texts: list[str]) -> Tensor:
    """int64 [S, 77]; a text that is too long loses its tail, its end mark stays."""
    tokens: Tensor = open_clip.tokenize(texts, context_length=CONTEXT)
    return tokens
