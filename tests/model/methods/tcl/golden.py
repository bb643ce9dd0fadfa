"""The authors' outputs for TCL, and the random weights and images that they were computed from."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.tcl.checkpoint import Restored, State, from_official, restore
from tests.golden import golden_inputs, golden_weights, weights
from tests.golden.weights import META, SEED, openai_clip_vitb16_state
from tests.once import kept

EMBEDDING_TOLERANCE = 5e-5  # tolerances of the fixtures' README
SIMILARITY_TOLERANCE = 3e-6
MASK_TOLERANCE = {False: 2e-5, True: 2e-4}  # without and with PAMR
ABOUT: dict[str, Any] = META["tcl"]
reference = partial(weights.reference, "tcl")  # every array of the fixture
SIZES = {"224": (224, 224), "288x352": (288, 352), "100x130": (100, 130)}


@kept
def official() -> State:
    """The 37 tensors of a `tcl.pth`. Shared: never write into them."""
    state: State = golden_weights.build(golden_weights.tcl_masker(), SEED)
    return state


@kept
def restored() -> Restored:
    """The model of the fixture. Shared: never change its modules."""
    return restore(from_official(official(), openai_clip_vitb16_state()))


def image(name: str, height: int, width: int) -> NDArray[np.uint8]:
    """One of the fixture's pictures, [H, W, 3]."""
    pixels: NDArray[np.uint8] = golden_inputs.image(SEED, name, height, width)
    assert ABOUT["images"][name] == [height, width, golden_inputs.digest(pixels)]
    return pixels


def normalised(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 [H, W, 3] -> float32 [1, 3, H, W] with ImageNet's statistics."""
    return torch.from_numpy(
        golden_inputs.normalise(pixels, golden_inputs.IMAGENET_MEAN, golden_inputs.IMAGENET_STD, 255.0)
    )


def texts() -> Tensor:
    """Five unit vectors, [5, 512]."""
    vectors = golden_inputs.unit_vectors(SEED, "tcl/texts", 5, 512)
    np.testing.assert_array_equal(vectors, reference()["texts"])
    return torch.from_numpy(vectors)


def assert_close(ours: Tensor, name: str, atol: float) -> None:
    weights.assert_close(ours, reference()[name], atol)
