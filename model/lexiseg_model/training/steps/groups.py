"""AdamW over a network's parameters: which of them decay, and how fast each part learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipe import DecayRule, RunRecipe

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


class Group(NamedTuple):
    """Parameters that are treated alike; `factor` is of the learning rate."""

    names: list[str]
    decays: bool
    factor: float


def _matrices(name: str, parameter: nn.Parameter, owner: nn.Module) -> bool:
    return parameter.ndim > 1


def _all_but_vectors(name: str, parameter: nn.Parameter, owner: nn.Module) -> bool:
    # TCL's rule is by the names of its own file, in which the bias of the masks' sigmoid is called b, and decays.
    return parameter.ndim == 0 or (parameter.ndim > 1 and not name.endswith(".bias"))


def _all_but_norms_and_embeddings(name: str, parameter: nn.Parameter, owner: nn.Module) -> bool:
    # A learned vector that stands by itself, such as a token or a level's, is an embedding without a module.
    is_norm = isinstance(owner, NORMS) or "Norm" in type(owner).__name__
    return not is_norm and not isinstance(owner, nn.Embedding) and name.endswith(("weight", "bias"))


# matrices: tiny. all-but-vectors: TCL and Swin; single numbers, such as gates and temperatures, do decay.
# all-but-norms-and-embeddings: Mask2Former; biases decay, too.
RULES: dict[DecayRule, Callable[[str, nn.Parameter, nn.Module], bool]] = {
    "matrices": _matrices,
    "all-but-vectors": _all_but_vectors,
    "all-but-norms-and-embeddings": _all_but_norms_and_embeddings,
}


def groups(network: nn.Module, rule: DecayRule, factors: Mapping[str, float] = {}) -> list[Group]:
    """Every parameter in one group; for each factor of the learning rate first what decays, then what does not.

    Args:
        network: whose parameters are named.
        rule: which decay.
        factors: part of the network -> factor; of several that fit, the longest name counts.

    Raises:
        RecipeError: a factor is of a part that the network does not have.
    """
    sorted_in: dict[tuple[float, bool], list[str]] = {}
    unused = set(factors)
    for name, parameter in network.named_parameters():
        parts = [part for part in factors if name == part or name.startswith(f"{part}.")]
        unused -= set(parts)
        factor = factors[max(parts, key=len)] if parts else 1.0
        owner = network.get_submodule(name.rpartition(".")[0])
        sorted_in.setdefault((factor, RULES[rule](name, parameter, owner)), []).append(name)
    if unused:
        raise RecipeError(f"rate_factors: the network has no part {', '.join(sorted(unused))}")
    # The common factor first, so that groups stay where they were when no part has one of its own.
    order = sorted({factor for factor, _ in sorted_in}, key=lambda factor: (factor != 1, factor))
    return [Group(sorted_in.get((factor, decays), []), decays, factor) for factor in order for decays in (True, False)]


def optimiser(recipe: RunRecipe, network: nn.Module, sorted_in: list[Group]) -> torch.optim.AdamW:
    """AdamW with one parameter group for each of `sorted_in`."""
    named = dict(network.named_parameters())
    return torch.optim.AdamW(
        [
            {"params": [named[name] for name in group.names], "weight_decay": recipe.weight_decay * group.decays}
            for group in sorted_in
        ],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        eps=recipe.epsilon,
        fused=True,
    )
