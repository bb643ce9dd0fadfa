"""Conversion between the authors' stage-one checkpoint and our flat state dict, in both directions.

Theirs: `{"model": ...}` as detectron2 writes it, 358 learned tensors under `sem_seg_head.` and CLIP's 543, both towers
in open_clip's names, under `backbone.clip_model.`. Ours: `clip.*`, `masks.*` (`network.PromptableMasks`), and
`adapter.*` (`trunk.RegionAdapter`) after stage two, for which the authors have no layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import open_clip
import torch
from torch import Tensor, nn

from lexiseg_model.catalogue.weights import Undrawn, names_in_network, naming_files, require_names, require_tensors
from lexiseg_model.clip.checkpoint import read_bare_or_wrapped, read_tensors
from lexiseg_model.clip.towers import ClipTowers, from_state
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk, RegionAdapter
from lexiseg_model.methods.unpair_seg.names import OURS, THEIRS, depth_of, learned_names
from lexiseg_model.methods.unpair_seg.network import PromptableMasks, UnpairSegNetwork
from lexiseg_model.methods.unpair_seg.settings import ARCHITECTURE, Sizes, sizes_of

State = dict[str, Tensor]

CLIP, MASKS, ADAPTER = "clip.", "masks.", "adapter."  # our prefixes
OFFICIAL_CLIP = "backbone.clip_model."
# Written along by some versions: numbers of the preprocessing, no weights.
DERIVED = ("pixel_mean", "pixel_std")
AS_THEY_ARE: Mapping[str, str] = MappingProxyType({})


class Weights(NamedTuple):
    """Of a file: the flat `state`, what the file calls the tensors of it that it holds, and who trained them.

    `own` is a training with this project's names, the authors' otherwise.
    """

    state: State
    names: dict[str, str]
    own: bool


class Restored(NamedTuple):
    """A model in evaluation mode; the network's image tower is that of the towers."""

    towers: ClipTowers
    network: UnpairSegNetwork

    @property
    def embedding(self) -> int:
        """Width of CLIP's space."""
        config: dict[str, int] = open_clip.get_model_config(self.towers.architecture)
        return config["embed_dim"]


def read_weights(path: Path, clip: State | None = None) -> Weights:
    """What a file holds: the authors' stage one, or stages one and two of a training of ours.

    Wrappers that training puts around a network's names, and the tensors of its losses, are left out.

    Args:
        path: theirs as detectron2 writes it, `{"model": ...}`, or bare; ours a state dict or safetensors.
        clip: both towers in open_clip's names; None where the file holds them.

    Raises:
        WeightsError: no such file, it holds other things than tensors, or these are not the model's, or its towers are
            others than `clip`.
    """
    weights = read_tensors(path) if path.suffix == ".safetensors" else read_bare_or_wrapped(path, "Unpair-Seg")
    saved = {inside: name for name, inside in names_in_network(weights).items()}
    weights = {inside: weights[name] for inside, name in saved.items()}
    own = any(name.startswith(MASKS) for name in weights)
    with naming_files(path):
        state = _of_training(weights, clip) if own else from_official(weights, clip)
    if own:
        return Weights(state, {name: saved[name] for name in state if name in saved}, own)
    names = learned_names(depth_of(weights, THEIRS))
    return Weights(state, {MASKS + ours: saved[theirs] for ours, theirs in names.items()}, own)


def from_official(official: State, clip: State | None = None) -> State:
    """The authors' weights and CLIP's towers as one flat state of ours.

    Args:
        official: tensors by the authors' names.
        clip: both towers in open_clip's names; None where `official` holds them.

    Returns:
        float32 tensors; shapes are looked at by `restore`.

    Raises:
        WeightsError: tensors are missing or unknown, or there are no towers.
    """
    towers = {
        name.removeprefix(OFFICIAL_CLIP): value for name, value in official.items() if name.startswith(OFFICIAL_CLIP)
    }
    learned = {
        name: value for name, value in official.items() if not name.startswith(OFFICIAL_CLIP) and name not in DERIVED
    }
    names = learned_names(depth_of(learned, THEIRS))
    require_names("stage one of Unpair-Seg", learned, names.values())
    towers = _only_towers(towers, clip)
    state = {MASKS + ours: learned[theirs].float() for ours, theirs in names.items()}
    return state | {CLIP + name: value.float() for name, value in towers.items()}


def _of_training(weights: State, clip: State | None) -> State:
    require_names("Unpair-Seg", weights, [name for name in weights if name.startswith((CLIP, MASKS, ADAPTER))])
    learned = {name: value.float() for name, value in weights.items() if not name.startswith(CLIP)}
    towers = _only_towers(_under(CLIP, weights), clip)
    return learned | {CLIP + name: value.float() for name, value in towers.items()}


def _only_towers(inside: State, beside: State | None) -> State:
    """CLIP's towers, of the file itself or beside it.

    Raises:
        WeightsError: there are none, or two that differ.
    """
    if not inside and not beside:
        raise WeightsError(
            "these weights come without CLIP; its towers have to be given with them: the authors' are "
            f"open_clip's {ARCHITECTURE}, laion2b_s29b_b131k_ft_soup"
        )
    beside = beside or {}
    for name in inside.keys() & beside.keys():
        # Frozen towers are the same numbers; what may differ is the type that somebody stored them in.
        same = inside[name].shape == beside[name].shape
        if not same or not torch.allclose(inside[name].float(), beside[name].float(), rtol=1e-2, atol=1e-3):
            raise WeightsError(f"these weights were trained over another CLIP than the one given: {name} differs")
    return inside or beside


def to_official(state: State) -> State:
    """A state of ours in the authors' names, CLIP's towers with it; stage two's adapter is left out.

    Raises:
        WeightsError: tensors are missing or unknown.
    """
    learned = {name: value for name, value in state.items() if not name.startswith((CLIP, ADAPTER))}
    learned = {name.removeprefix(MASKS): value for name, value in learned.items()}
    names = learned_names(depth_of(learned, OURS))
    require_names("this model", learned, names)
    official = {theirs: learned[ours] for ours, theirs in names.items()}
    return official | {
        OFFICIAL_CLIP + name.removeprefix(CLIP): value for name, value in state.items() if name.startswith(CLIP)
    }


def restore(state: State, architecture: str = ARCHITECTURE, names: Mapping[str, str] = AS_THEY_ARE) -> Restored:
    """Builds the model of a flat state, with an adapter if the state has one. Sizes are read off the weights.

    Args:
        state: of `from_official`, `flat_state` or training.
        architecture: open_clip's name of the CLIP in it, a ConvNeXt.
        names: what tensors of stages one and two are called where they come from, if otherwise; for messages.

    Raises:
        OptionError: open_clip knows no such architecture.
        WeightsError: tensors are missing, unknown, or of another shape.
    """
    towers = from_state(architecture, _under(CLIP, state), quick_gelu=False)
    trunk = ClipTrunk(towers.visual)
    learned = {name: value for name, value in state.items() if not name.startswith((CLIP, ADAPTER))}
    masks = restore_masks(learned, names)
    if masks.sizes.channels != trunk.channels:
        expected, got = list(masks.sizes.channels), list(trunk.channels)
        raise WeightsError(f"stage one was trained over maps of {expected} channels; {architecture} has {got}")
    of_adapter = {name: value for name, value in state.items() if name.startswith(ADAPTER)}
    adapter = _restore_adapter(of_adapter, masks.sizes, names) if of_adapter else None
    network = UnpairSegNetwork(trunk, masks, adapter)
    return Restored(towers, network.eval().requires_grad_(False))


def restore_masks(state: State, names: Mapping[str, str] = AS_THEY_ARE) -> PromptableMasks:
    """The learned part of stage one alone, from `masks.*`; names and errors as `restore`."""
    called = {name.removeprefix(MASKS): names.get(name, name) for name in state}
    sizes = sizes_of(_under(MASKS, state), called)
    with Undrawn():
        masks = PromptableMasks(sizes)
    _fill(masks, MASKS, state, names)
    return masks.eval().requires_grad_(False)


def flat_state(restored: Restored) -> State:
    """Back from a model: the state that `restore` takes."""
    network = restored.network
    parts = [(CLIP, restored.towers.state), (MASKS, network.masks.state_dict())]
    if network.adapter is not None:
        parts.append((ADAPTER, network.adapter.state_dict()))
    return {prefix + name: value for prefix, part in parts for name, value in part.items()}


def _under(prefix: str, state: State) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _restore_adapter(state: State, sizes: Sizes, names: Mapping[str, str]) -> RegionAdapter:
    first = state.get(f"{ADAPTER}inputs.0.weight")
    if first is None:
        raise WeightsError(f"the adapter lacks {ADAPTER}inputs.0.weight, which tells its width")
    blocks = {name.split(".")[1] for name in _under(ADAPTER, state) if name.startswith("blocks.")}
    adapter = RegionAdapter(sizes.channels, sizes.width, width=len(first), blocks=len(blocks))
    _fill(adapter, ADAPTER, state, names)
    return adapter


def _fill(module: nn.Module, prefix: str, state: State, names: Mapping[str, str]) -> None:
    """From tensors under a prefix and nothing else."""
    wanted = {prefix + name: value for name, value in module.state_dict().items()}
    require_tensors("this model", state, wanted, names)
    module.load_state_dict(_under(prefix, state))
