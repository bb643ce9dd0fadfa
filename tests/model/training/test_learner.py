"""Weight decay by rule, learning rate factors and number type of the optimiser."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from lexiseg_model.methods.tcl.training.losses import TclLosses
from lexiseg_model.training.learner import groups, number_type
from lexiseg_model.training.recipe import DecayRule
from tests.model.methods.tcl.small import small_network
from tests.model.training.toy import ToyNetwork


def sorted_by(network: nn.Module, rule: DecayRule) -> tuple[set[str], set[str]]:
    """Names of the trained parameters that decay and that do not; numbers of layers are left out."""
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    decayed, others = groups(network, rule)
    assert not set(decayed.names) & set(others.names)
    named = [{re.sub(r"\.\d+\b", ".N", name) for name in group.names if name in trained} for group in (decayed, others)]
    return named[0], named[1]


def test_weight_decay_of_tcl_skips_norms_and_biases() -> None:
    trained = nn.ModuleDict({"network": small_network(), "losses": TclLosses()})

    decayed, others = sorted_by(trained, "all-but-vectors")

    block, stage = "network.grounder.block", "network.grounder.stages.N"
    convolutions = [f"{stage}.{which}" for which in ("first", "second")]
    assert decayed == {
        f"{block}.attn.in_proj_weight",
        f"{block}.attn.out_proj.weight",
        f"{block}.mlp.c_fc.weight",
        f"{block}.mlp.c_proj.weight",
        *(f"{each}.conv.weight" for each in convolutions),
        *(f"{each}.gate" for each in convolutions),
        "network.grounder.projection.matrix",
        "network.sim2mask.scale",
        "network.sim2mask.bias",
        "losses.image_contrast.log_scale",
        "losses.feature_contrast.log_scale",
    }
    assert others == {
        f"{block}.attn.in_proj_bias",
        f"{block}.attn.out_proj.bias",
        f"{block}.mlp.c_fc.bias",
        f"{block}.mlp.c_proj.bias",
        *(f"{block}.{norm}.{part}" for norm in ("ln_1", "ln_2") for part in ("weight", "bias")),
        *(f"{each}.norm.{part}" for each in convolutions for part in ("weight", "bias")),
        *(f"{each}.conv.bias" for each in convolutions),
        "network.grounder.projection.norm.weight",
        "network.grounder.projection.norm.bias",
    }


def test_a_parameter_group_has_its_learning_rate_factor() -> None:
    found = groups(ToyNetwork(), "matrices", {"first": 0.1, "first.bias": 0.5})

    by_factor = {group.factor: group.names for group in found if group.names and not group.decays}
    assert by_factor[0.5] == ["first.bias"]
    assert [(group.names, group.factor) for group in found if group.decays][:2] == [
        (["second.weight"], 1.0),
        (["first.weight"], 0.1),
    ]


CPU = torch.device("cpu")


@pytest.mark.parametrize(("bf16", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_precision_is_bfloat16_only_with_native_support(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, expected: torch.dtype
) -> None:
    # With AVX-512 but without bf16 instructions oneDNN emulates it: a step took six times as long as in float32.
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)

    assert number_type("auto", CPU) is expected
