"""The fixtures' arrays, and their random weights: built once for a run of the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from lexiseg_model.clip.towers import ClipTowers, clip_from_state
from tests import once
from tests.golden import golden_weights
from tests.once import kept

FOLDER = Path(__file__).resolve().parent
META = json.loads((FOLDER / "meta.json").read_text())
SEED = META["seed"]


@kept
def reference(name: str) -> dict[str, NDArray[Any]]:
    """Every array of a fixture."""
    with np.load(FOLDER / f"{name}.npz") as archive:
        return dict(archive)


def assert_close(ours: Tensor, expected: NDArray[Any], atol: float) -> None:
    """Compare with an array of a fixture; where magnitudes go beyond 5, 1e-4 of them is allowed in addition."""
    assert ours.shape == expected.shape
    rtol = 1e-4 if np.abs(expected).max() > 5 else 0
    np.testing.assert_allclose(ours.detach().numpy(), expected, atol=atol, rtol=rtol)


def openai_clip_vitb16_state() -> dict[str, Tensor]:
    """302 tensors in OpenAI's names, of a mapped file: asked for again, they cost nothing."""
    return load_file(once.made("openai_clip_vitb16.safetensors", _write_openai_clip_vitb16))


@kept
def openai_clip_vitb16() -> ClipTowers:
    """Both towers with QuickGELU, float32, as the reference ran them. Shared: never change its modules."""
    return clip_from_state("ViT-B-16", openai_clip_vitb16_state(), quick_gelu=True)


def _write_openai_clip_vitb16(path: Path) -> None:
    save_file(golden_weights.build(golden_weights.openai_clip_vitb16(), SEED), path)
