"""TCL's six losses and their gradients against the authors' outputs."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model.methods.tcl.blend import similarity
from lexiseg_model.methods.tcl.checkpoint import to_official
from lexiseg_model.methods.tcl.grounder import logistic_noise
from lexiseg_model.methods.tcl.network import TclNetwork
from lexiseg_model.methods.tcl.training.losses import (
    Losses,
    TclLosses,
)
from tests.golden import golden_inputs
from tests.golden.weights import SEED
from tests.model.methods.tcl import golden

NAMES = {  # ours -> of the fixture
    "area": "area",
    "negative_area": "neg_area",
    "image_variation": "tv_img",
    "mask_variation": "tv_mask",
    "feature_contrast": "tclf",
    "image_contrast": "tcli",
}
LOSS_TOLERANCE = 1e-6
GRADIENT_TOLERANCE = 1e-3  # relative


def batch() -> Tensor:
    return torch.cat([golden.normalised(golden.image(f"tcl/batch{index}", 224, 224)) for index in range(3)])


@cache
def step() -> tuple[Losses, dict[str, Tensor]]:
    """Losses of the fixture's batch, and the gradient of each parameter under the authors' name."""
    shared = golden.restored()
    network = TclNetwork(shared.towers.visual)
    network.load_state_dict(shared.network.state_dict())
    criterion = TclLosses()
    captions = torch.from_numpy(golden.reference()["caption_features"])
    uniform = torch.from_numpy(golden_inputs.uniform(SEED, "tcl/gumbel", (3, 3, 56, 56)))
    own = torch.arange(3)

    losses = criterion(network, batch(), captions, logistic_noise(uniform[own, own]))
    losses.total.backward()

    parameters = dict(network.named_parameters()) | {f"losses.{name}": p for name, p in criterion.named_parameters()}
    return losses, to_official({name: p.grad for name, p in parameters.items() if p.grad is not None})


@pytest.mark.parametrize("name", NAMES)
def test_each_loss_equals_the_reference(name: str) -> None:
    losses, _ = step()

    assert getattr(losses, name).item() == pytest.approx(
        golden.reference()[f"train_{NAMES[name]}_loss"].item(), abs=LOSS_TOLERANCE
    )


def test_the_total_equals_the_reference() -> None:
    losses, _ = step()

    assert losses.total.item() == pytest.approx(golden.reference()["train_total"].item(), abs=LOSS_TOLERANCE)


def test_the_trained_parameters_are_those_of_the_authors() -> None:
    _, gradients = step()

    assert sorted(gradients) == sorted(golden.ABOUT["grad_names"])


def test_gradient_norms_equal_the_reference() -> None:
    _, gradients = step()

    norms = [gradients[name].norm().item() for name in golden.ABOUT["grad_names"]]

    np.testing.assert_allclose(norms, golden.reference()["train_grad_norm"], rtol=GRADIENT_TOLERANCE)


def test_gradient_elements_equal_the_reference() -> None:
    _, gradients = step()

    first = [gradients[name].flatten()[0].item() for name in golden.ABOUT["grad_names"]]

    # Queries and keys take no part: what the reference has there, 1e-11, is rounding.
    np.testing.assert_allclose(first, golden.reference()["train_grad_first"], rtol=GRADIENT_TOLERANCE, atol=1e-10)


@torch.no_grad()
def test_soft_masks_of_own_captions_equal_the_reference() -> None:
    captions = torch.from_numpy(golden.reference()["caption_features"])
    network = golden.restored().network

    embedding = network.grounder(*network.tokens(batch()))
    masks = torch.sigmoid(network.sim2mask(similarity(embedding, captions)))
    own = masks[torch.arange(3), torch.arange(3)]

    golden.assert_close(own[:, ::2, ::2], "train_soft_positive", golden.MASK_TOLERANCE[False])
