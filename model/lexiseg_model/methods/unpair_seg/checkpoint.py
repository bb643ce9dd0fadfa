"""Weights of Unpair-Seg as one flat state, by the names of the authors' stage-one checkpoint.

That is `{"model": ...}` as detectron2 writes it: 358 learned tensors under `sem_seg_head.` (`network.PromptableMasks`),
and CLIP's 543, both towers in open_clip's names, under `backbone.clip_model.`. After stage two, for which the authors
have no layout, `adapter.*` (`trunk.RegionAdapter`) is added.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import open_clip
from torch import Tensor, nn

from lexiseg_model.catalogue.weights import (
    SkipInit,
    names_in_network,
    naming_files,
    require_names,
    require_tensors,
    under,
)
from lexiseg_model.clip.checkpoint import read_bare_or_wrapped, read_tensors, require_same_towers
from lexiseg_model.clip.towers import ClipTowers, from_state
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk, RegionAdapter
from lexiseg_model.methods.unpair_seg.network import PromptableMasks, UnpairSegNetwork
from lexiseg_model.methods.unpair_seg.settings import ARCHITECTURE, Sizes, sizes_of

State = dict[str, Tensor]

CLIP, MASKS, ADAPTER = "backbone.clip_model.", "sem_seg_head.", "adapter."
# Written along by some versions: numbers of the preprocessing, no weights.
DERIVED = ("pixel_mean", "pixel_std")


class Restored(NamedTuple):
    """A model in evaluation mode; the network's image tower is that of the towers."""

    towers: ClipTowers
    network: UnpairSegNetwork

    @property
    def embedding(self) -> int:
        """Width of CLIP's space."""
        config: dict[str, int] = open_clip.get_model_config(self.towers.architecture)
        return config["embed_dim"]


def flat_state(clip: State, masks: State, adapter: State | None = None) -> State:
    """CLIP's towers, `PromptableMasks` and the adapter of stage two as one state."""
    parts = {CLIP: clip, MASKS: masks, ADAPTER: adapter or {}}
    return {prefix + name: value for prefix, part in parts.items() for name, value in part.items()}


def read_weights(path: Path, clip: State | None = None) -> State:
    """The flat state of a file, in float32: the authors' stage one, or a training of one or two stages.

    Wrappers that training puts around a network's names, and the tensors of its losses, are left out. What is missing
    is looked at by `restore`.

    Args:
        path: as detectron2 writes it, `{"model": ...}`, a state dict, or safetensors.
        clip: both towers in open_clip's names; None where the file holds them.

    Raises:
        WeightsError: no such file, it holds other things than tensors, some are unknown, there are no towers, or they
            are others than `clip`.
    """
    saved = read_tensors(path) if path.suffix == ".safetensors" else read_bare_or_wrapped(path, "Unpair-Seg")
    state = {inside: saved[name].float() for name, inside in names_in_network(saved).items() if inside not in DERIVED}
    with naming_files(path):
        require_names("Unpair-Seg", state, [name for name in state if name.startswith((CLIP, MASKS, ADAPTER))])
        towers = _only_towers(under(CLIP, state), clip)
    return {name: value for name, value in state.items() if not name.startswith(CLIP)} | {
        CLIP + name: value.float() for name, value in towers.items()
    }


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
    if inside and beside:
        require_same_towers(inside, beside)
    return inside or beside or {}


def restore(state: State, architecture: str = ARCHITECTURE) -> Restored:
    """Builds the model of a flat state, with an adapter if the state has one. Sizes are read off the weights.

    Args:
        state: of `read_weights` or `flat_state`.
        architecture: open_clip's name of the CLIP in it, a ConvNeXt.

    Raises:
        OptionError: open_clip knows no such architecture.
        WeightsError: tensors are missing, unknown, or of another shape.
    """
    towers = from_state(architecture, under(CLIP, state), quick_gelu=False)
    trunk = ClipTrunk(towers.visual)
    masks = restore_masks({name: value for name, value in state.items() if not name.startswith((CLIP, ADAPTER))})
    if masks.sizes.channels != trunk.channels:
        expected, got = list(masks.sizes.channels), list(trunk.channels)
        raise WeightsError(f"stage one was trained over maps of {expected} channels; {architecture} has {got}")
    of_adapter = {name: value for name, value in state.items() if name.startswith(ADAPTER)}
    adapter = _restore_adapter(of_adapter, masks.sizes) if of_adapter else None
    network = UnpairSegNetwork(trunk, masks, adapter)
    return Restored(towers, network.eval().requires_grad_(False))


def restore_masks(state: State) -> PromptableMasks:
    """The learned part of stage one alone, from `sem_seg_head.*`; errors as `restore`."""
    sizes = sizes_of(under(MASKS, state))
    with SkipInit():
        masks = PromptableMasks(sizes)
    _fill(masks, MASKS, state)
    return masks.eval().requires_grad_(False)


def _restore_adapter(state: State, sizes: Sizes) -> RegionAdapter:
    first = state.get(f"{ADAPTER}inputs.0.weight")
    if first is None:
        raise WeightsError(f"the adapter lacks {ADAPTER}inputs.0.weight, which tells its width")
    blocks = {name.split(".")[1] for name in under(ADAPTER, state) if name.startswith("blocks.")}
    adapter = RegionAdapter(sizes.channels, sizes.width, width=len(first), blocks=len(blocks))
    _fill(adapter, ADAPTER, state)
    return adapter


def _fill(module: nn.Module, prefix: str, state: State) -> None:
    """From tensors under a prefix and nothing else."""
    require_tensors("this model", state, {prefix + name: value for name, value in module.state_dict().items()})
    module.load_state_dict(under(prefix, state))
