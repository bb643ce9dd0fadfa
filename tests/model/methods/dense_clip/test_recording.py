"""A CUDA graph can hold the image pass of every dense CLIP method; that of NACLIP is asked among all models."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from lexiseg_model.clip.dino import DinoKind, DinoTower
from lexiseg_model.methods.dense_clip.dinoiser import DinoiserHeads
from lexiseg_model.methods.dense_clip.image_pass import ImagePass
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import PolicyName
from tests.model.clip import small as clip
from tests.model.methods.dense_clip import small
from tests.model.recording import META, assert_recordable

WIDTH = 32  # of the small CLIP
SIZES = {"embed_dim": 64, "depth": 1, "num_heads": 1}
PLAIN = DinoKind("vit_small_patch8_224.dino", 8, "scale_factor", SIZES)
REGISTERS = DinoKind("vit_small_patch14_reg4_dinov2.lvd142m", 14, "timm", SIZES)


def assert_held(policy: PolicyName, proxy: DinoTower | None = None, heads: DinoiserHeads | None = None) -> None:
    settings = small.SETTINGS.model_copy(update={"policy": policy})
    network = ImagePass(DenseNetwork(clip.visual(), settings, proxy, heads)).eval().to(META)
    with torch.inference_mode():
        made = assert_recordable(network, (2, 3, 48, 40))

    assert all(len(part) == 2 for part in made)


@pytest.mark.parametrize("policy", ["maskclip", "sclip", "clearclip", "naclip"])
def test_each_attention(policy: PolicyName) -> None:
    assert_held(policy)


def test_the_heads_of_clip_dinoiser() -> None:
    assert_held("clip_dinoiser", heads=DinoiserHeads(WIDTH))


@pytest.mark.parametrize("kind", [PLAIN, REGISTERS], ids=["dino", "dinov2"])
def test_the_other_tower_of_proxyclip(kind: DinoKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # the device has none
    assert_held("proxyclip", DinoTower(kind))
