"""A CLIP of a few thousand weights under a name of its own, built by open_clip as any other."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from lexiseg_model.clip.towers import ClipTowers, clip_from_state
from tests.once import kept

ARCHITECTURE = "lexiseg-small"
PATCH = 8
PRETRAINED_SIDE = 32  # a grid of 4 x 4


def register_architecture(name: str, config: dict[str, Any]) -> None:
    """Makes open_clip know an architecture; once is enough."""
    if open_clip.get_model_config(name) is not None:
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)


def register() -> None:
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": PRETRAINED_SIDE, "layers": 4, "width": 32, "head_width": 16, "patch_size": PATCH},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    register_architecture(ARCHITECTURE, config)


@kept
def state(seed: int = 0) -> dict[str, Tensor]:
    """Random weights, large enough that every part shows in the result."""
    register()
    torch.manual_seed(seed)
    model = open_clip.CLIP(**open_clip.get_model_config(ARCHITECTURE))
    return {name: value + 0.1 * torch.randn_like(value) for name, value in model.state_dict().items()}


def towers(*, quick_gelu: bool = False, seed: int = 0) -> ClipTowers:
    return clip_from_state(ARCHITECTURE, state(seed), quick_gelu=quick_gelu)


def visual(*, quick_gelu: bool = False) -> VisionTransformer:
    tower = towers(quick_gelu=quick_gelu).visual
    assert isinstance(tower, VisionTransformer)
    return tower
