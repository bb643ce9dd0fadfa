"""The fixtures' random weights, built once per process and checked against their digest."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from torch import Tensor

from lexiseg_model.clip.towers import ClipTowers, from_state
from tests.golden import golden_weights

FOLDER = Path(__file__).resolve().parent
META = json.loads((FOLDER / "meta.json").read_text())
SEED = META["seed"]


@cache
def openai_clip_vitb16_state(seed: int = SEED) -> dict[str, Tensor]:
    """302 tensors in OpenAI's names. Shared: never write into them."""
    state = golden_weights.build(golden_weights.openai_clip_vitb16(), seed)
    if seed == SEED:
        assert golden_weights.digest(state) == META["dense_clip"]["digest_clip"]
    return state


@cache
def openai_clip_vitb16(seed: int = SEED) -> ClipTowers:
    """Both towers with QuickGELU, float32, as the reference ran them. Shared: never change its modules."""
    return from_state("ViT-B-16", openai_clip_vitb16_state(seed), quick_gelu=True)
