"""The loss that keeps what a network said of other words before it was tuned."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState, load_tensors
from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from lexiseg_train.methods.tiny.losses import Keeper

WORDS = ["dog", "cat", "cup", "sky", "tractor", "violin", "a red tulip", "snow"]


@pytest.fixture(scope="module")
def start() -> TinyNetwork:
    state = TinyState.from_tensors(read_weights(BUNDLED, None)).network
    return load_tensors(TinyNetwork.for_weights(state), state, BUNDLED).float().eval()


@pytest.fixture(scope="module")
def keeper(start: TinyNetwork, tower: MiniLM) -> Keeper:
    return Keeper(start, tower.encode(WORDS))


@pytest.fixture(scope="module")
def images(photographs: dict[str, NDArray[np.uint8]]) -> Tensor:
    cat = photographs["chelsea"][:192, :192]
    return normalised(torch.from_numpy(cat.copy()).permute(2, 0, 1)[None])


def losses(keeper: Keeper, network: TinyNetwork, images: Tensor) -> tuple[Tensor, Tensor]:
    return keeper.losses(network, network(images), images, np.random.default_rng(0))


def test_a_network_that_has_not_changed_loses_nothing(keeper: Keeper, start: TinyNetwork, images: Tensor) -> None:
    presence, pixels = losses(keeper, start, images)

    assert presence.item() == pytest.approx(0, abs=1e-4)
    assert pixels.item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("part", ["text_projection", "image_head.0", "pixel_head"])
def test_a_network_that_answers_otherwise_pays_for_it(
    keeper: Keeper, start: TinyNetwork, images: Tensor, part: str
) -> None:
    network = deepcopy(start).requires_grad_(False)
    weight = network.get_submodule(part).get_parameter("weight").requires_grad_(True)
    with torch.no_grad():
        weight += weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))

    loss = torch.stack(losses(keeper, network, images)).sum()
    [gradient] = torch.autograd.grad(loss, weight)

    assert loss.item() > 1e-3
    assert gradient.abs().max() > 0
