"""DINO and DINOv2 towers: maps on their own grids, weights in timm's and in the authors' names."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from lexiseg_model.clip.dino import KINDS, DinoTower, dino_from_file, dino_from_state
from lexiseg_model.errors import WeightsError
from lexiseg_model.types import DinoName
from tests.model.clip.small import PRETRAINED_SIDE
from tests.model.methods.dense_clip.small import dino
from tests.once import kept

NAME: DinoName = "dinov2_vits14_reg"


@kept
@torch.inference_mode(False)  # cached, and the first caller may be in inference mode
def random_tower() -> DinoTower:
    """A DINOv2 with registers, its weights large enough that positions and registers show."""
    torch.manual_seed(3)
    state = DinoTower(KINDS[NAME]).vit.state_dict()
    return dino_from_state(NAME, {key: value + 0.02 * torch.randn_like(value) for key, value in state.items()})


@pytest.mark.parametrize(("make", "side"), [(dino, PRETRAINED_SIDE), (random_tower, 56)])
@torch.inference_mode()
def test_values_are_those_of_timm_s_last_block(make: Callable[[], DinoTower], side: int) -> None:
    tower = deepcopy(make())
    del tower.vit.blocks[2:]  # the others are alike
    images = torch.randn(1, 3, side, side)
    recorded: list[torch.Tensor] = []
    qkv = tower.vit.blocks[1].get_submodule("attn.qkv")
    with qkv.register_forward_hook(lambda _, inputs, output: recorded.append(output)):
        tower.vit.forward_features(images)

    found = tower.values(images)

    patches = recorded[0][0, tower.vit.num_prefix_tokens :]
    torch.testing.assert_close(found[0].flatten(1).T, patches.chunk(3, -1)[2], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_authors_file_of_dinov2_is_understood(tmp_path: Path) -> None:
    tower = random_tower()
    state = dict(tower.vit.state_dict())
    # Theirs gives the class token a position of its own, and names the registers in full.
    position = torch.randn(1, 1, 384)
    official = state | {
        "cls_token": state["cls_token"] - position,
        "pos_embed": torch.cat([position, state["pos_embed"]], 1),
        "register_tokens": state["reg_token"],
        "mask_token": torch.zeros(1, 384),
    }
    del official["reg_token"]
    torch.save(official, tmp_path / "dinov2_vits14_reg4_pretrain.pth")
    images = torch.randn(1, 3, 56, 56)

    found = dino_from_file(NAME, tmp_path / "dinov2_vits14_reg4_pretrain.pth")

    torch.testing.assert_close(found(images), tower(images), atol=1e-4, rtol=1e-4)


def test_weights_of_another_tower_are_refused() -> None:
    state = dict(random_tower().vit.state_dict())

    with pytest.raises(WeightsError, match=rf"not the weights of {NAME}: norm.weight is \[3\]; expected \[384\]"):
        dino_from_state(NAME, state | {"norm.weight": torch.zeros(3)})
    with pytest.raises(WeightsError, match=rf"not the weights of {NAME}: missing .* and \d+ more; unexpected none"):
        dino_from_state(NAME, {})
