"""The weights file of `tiny`: the network and its prompt head."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState, filled

# Of every tensor of the network that the prompt head was trained over: its answers must not change.
NETWORK = "d5a8095632c862c6c20798a71817ecca94d2e9e3a384936074802f814519c17c"


def test_the_bundled_network_is_the_one_the_prompt_head_was_trained_on() -> None:
    total = hashlib.sha256()
    for name, value in sorted(TinyState.of(load_file(BUNDLED)).network.items()):
        total.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        total.update(value.numpy().tobytes())

    assert total.hexdigest() == NETWORK


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"weight": torch.zeros(1, 2)}, r"somewhere: weights lack \['bias'\]"),
        ({"weight": torch.zeros(1, 2), "bias": torch.zeros(1), "more": torch.zeros(1)}, r"hold unknown \['more'\]"),
        ({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, r"somewhere: .*size mismatch"),
    ],
    ids=["missing", "unknown", "of another shape"],
)
def test_weights_that_do_not_fit_are_refused(weights: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(WeightsError, match=f"(?s){message}"):
        filled(nn.Linear(2, 1), weights, Path("somewhere"))
