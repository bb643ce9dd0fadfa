"""Weight decay by rule, learning rate factors, number type: every parameter of each method's network."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.tcl.training.losses import TclLosses
from lexiseg_model.training.learner import groups, number_type, optimiser
from lexiseg_model.training.recipe import DecayRule
from tests.model.methods.s_seg import small as s_seg
from tests.model.methods.tcl.small import small_network
from tests.model.methods.unpair_seg import small as unpair_seg
from tests.model.training.toy import ToyNetwork, recipe_for


def sorted_by(network: nn.Module, rule: DecayRule) -> tuple[set[str], set[str]]:
    """Names of the trained parameters that decay and that do not; numbers of layers are left out."""
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    decayed, others = groups(network, rule)
    assert not set(decayed.names) & set(others.names)
    named = [{re.sub(r"\.\d+\b", ".N", name) for name in group.names if name in trained} for group in (decayed, others)]
    return named[0], named[1]


def test_gates_scales_and_temperatures_of_tcl_decay_norms_and_biases_do_not() -> None:
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


def test_norms_and_embeddings_of_unpair_seg_do_not_decay_biases_do() -> None:
    network = unpair_seg.network()

    decayed, others = sorted_by(network, "all-but-norms-and-embeddings")

    norms = {
        f"{name}.{part}"
        for name, module in network.named_modules()
        if "Norm" in type(module).__name__ and not isinstance(module, nn.MultiheadAttention)
        for part, _ in module.named_parameters(recurse=False)
    }
    tokens = {f"prompt_encoder.{name}" for name in ("corner", "point", "box", "mask", "sign")}
    levels = {"pixel_decoder.level", "mask_decoder.level"}
    assert others == {re.sub(r"\.\d+\b", ".N", name) for name in norms} | tokens | levels
    assert "mask_decoder.layers.N.within.attention.in_proj_bias" in decayed


def test_of_s_seg_matrices_and_the_temperature_decay() -> None:
    decayed, others = sorted_by(s_seg.small_network(), "all-but-vectors")

    assert "contrast.log_scale" in decayed
    assert {"sem_seg_head.predictor.query_embed.weight", "text.positional_embedding"} <= decayed
    assert not [name for name in decayed if name.endswith("bias") or "norm" in name or ".ln_" in name]
    assert {"image_projector.norm.weight", "image_projector.first.bias"} <= others


def test_a_part_learns_at_a_rate_of_its_own() -> None:
    found = groups(ToyNetwork(), "matrices", {"first": 0.1, "first.bias": 0.5})

    by_factor = {group.factor: group.names for group in found if group.names and not group.decays}
    assert by_factor[0.5] == ["first.bias"]
    assert [(group.names, group.factor) for group in found if group.decays][:2] == [
        (["second.weight"], 1.0),
        (["first.weight"], 0.1),
    ]


def test_a_part_that_is_not_there_is_named() -> None:
    with pytest.raises(RecipeError, match="rate_factors: the network has no part backbone"):
        groups(ToyNetwork(), "matrices", {"backbone": 0.1})


def test_the_optimiser_has_the_recipes_numbers() -> None:
    network = ToyNetwork()
    recipe = recipe_for(weight_decay=0.05, betas=(0.8, 0.9), epsilon=1e-6)

    adam = optimiser(recipe, network, groups(network, "matrices"))

    assert [group["weight_decay"] for group in adam.param_groups] == [0.05, 0.0]
    assert {(group["betas"], group["eps"]) for group in adam.param_groups} == {((0.8, 0.9), 1e-6)}


CPU = torch.device("cpu")


@pytest.mark.parametrize(("bf16", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_only_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, expected: torch.dtype
) -> None:
    # With AVX-512 but without bf16 instructions oneDNN emulates it: a step took six times as long as in float32.
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)

    assert number_type("auto", CPU) is expected
