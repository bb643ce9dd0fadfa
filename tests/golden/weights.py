"""The fixtures' random weights, built once for a run of the tests and checked against their digest."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from lexiseg_model.clip.towers import ClipTowers, from_state
from tests import once
from tests.golden import golden_weights

FOLDER = Path(__file__).resolve().parent
META = json.loads((FOLDER / "meta.json").read_text())
SEED = META["seed"]


@cache
def openai_clip_vitb16_state() -> dict[str, Tensor]:
    """302 tensors in OpenAI's names. Shared: never write into them."""
    return load_file(once.made("openai_clip_vitb16.safetensors", _write_openai_clip_vitb16))


@cache
def openai_clip_vitb16() -> ClipTowers:
    """Both towers with QuickGELU, float32, as the reference ran them. Shared: never change its modules."""
    return from_state("ViT-B-16", openai_clip_vitb16_state(), quick_gelu=True)


def _write_openai_clip_vitb16(path: Path) -> None:
    state = golden_weights.build(golden_weights.openai_clip_vitb16(), SEED)
    assert golden_weights.digest(state) == META["dense_clip"]["digest_clip"]
    save_file(state, path)
