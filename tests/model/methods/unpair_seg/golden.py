"""The authors' outputs for Unpair-Seg, and the random weights and inputs that they were computed from."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.network import PromptableMasks, State, restore_masks
from tests.golden import golden_inputs, golden_weights, weights
from tests.golden.weights import META, SEED
from tests.once import kept

# Tolerances of the fixtures' README.
FEATURES = 1e-4
MASKS = 3e-4
UPSAMPLED = 5e-4
QUALITY = 1e-5
LOSSES = 1e-5

ABOUT: dict[str, Any] = META["unpair_seg"]
reference = partial(weights.reference, "unpair_seg")  # every array of the fixture
SIZE = (256, 256)
CHANNELS = (192, 384, 768, 1536)  # of the maps at strides 4, 8, 16, 32


@kept
@torch.inference_mode(False)  # cached, and the first caller may be in inference mode
def official() -> State:
    """The 358 learned tensors of a checkpoint. Shared: never write into them."""
    state: State = golden_weights.build(golden_weights.unpair_seg_head(), SEED)
    return state


@kept
def masks() -> PromptableMasks:
    """The learned part. Shared: never change it."""
    return restore_masks(official())


@kept
def maps() -> tuple[Tensor, ...]:
    """What stands for CLIP's maps, [1, C, h, w] each."""
    strides = (4, 8, 16, 32)
    return tuple(
        normal(f"uni/res{index + 2}", (1, channels, SIZE[0] // stride, SIZE[1] // stride))
        for index, (channels, stride) in enumerate(zip(CHANNELS, strides, strict=True))
    )


@kept
@torch.inference_mode()
def features() -> PixelFeatures:
    """Of those maps."""
    return masks().features(maps())


def prompt(name: str) -> Tensor:
    """An array of prompts, with the batch axis that the fixture dropped."""
    return torch.from_numpy(reference()[name])[None]


def normal(name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(golden_inputs.normal(SEED, name, shape))


def uniform(name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(golden_inputs.uniform(SEED, name, shape))


def blobs(name: str, count: int, height: int, width: int) -> Tensor:
    """uint8 masks of 0 and 1, [count, height, width]."""
    return torch.from_numpy(golden_inputs.blob_masks(SEED, name, count, height, width))


def assert_close(ours: Tensor, name: str, atol: float) -> None:
    weights.assert_close(ours, reference()[name], atol)
