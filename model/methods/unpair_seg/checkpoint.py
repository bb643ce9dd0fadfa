"""Between the authors' stage-one checkpoint and one flat state of ours, both ways.

Theirs: `{"model": ...}` as detectron2 writes it, 358 learned tensors under `sem_seg_head.` and CLIP's 543, both towers
in open_clip's names, under `backbone.clip_model.`. Ours: `clip.*`, `masks.*` (`network.PromptableMasks`), and
`adapter.*` (`adapter.RegionAdapter`) where stage two was trained; the authors have no layout for it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from model.clip.checkpoint import read_bare_or_wrapped
from model.clip.towers import ClipTowers, from_state
from model.errors import WeightsError
from model.methods.unpair_seg.adapter import RegionAdapter
from model.methods.unpair_seg.network import PromptableMasks, UnpairSegNetwork
from model.methods.unpair_seg.trunk import ClipTrunk

State = dict[str, Tensor]

ARCHITECTURE = "convnext_large_d_320"  # weights laion2b_s29b_b131k_ft_soup, with GELU
DEPTH = {"encoder": 6, "decoder": 9, "levels": 3, "masks": 5}

CLIP, MASKS, ADAPTER = "clip.", "masks.", "adapter."  # our prefixes
OFFICIAL_CLIP = "backbone.clip_model."
# Written along by some versions: numbers of the preprocessing, no weights.
DERIVED = ("pixel_mean", "pixel_std")


def _pairs(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}


def _attention(ours: str, theirs: str, kind: str) -> dict[str, str]:
    """A packed attention with its norm."""
    packed = {f"{ours}.attention.{name}": f"{theirs}.{kind}.{name}" for name in ("in_proj_weight", "in_proj_bias")}
    projected = _pairs(f"{ours}.attention.out_proj", f"{theirs}.{kind}.out_proj")
    return packed | projected | _pairs(f"{ours}.norm", f"{theirs}.norm")


def _pixel_decoder() -> dict[str, str]:
    ours, theirs = "pixel_decoder", "sem_seg_head.pixel_decoder"
    table = {
        f"{ours}.positions.matrix": f"{theirs}.pe_layer.positional_encoding_gaussian_matrix",
        f"{ours}.level": f"{theirs}.transformer.level_embed",
    }
    for index in range(DEPTH["levels"]):
        for part in (0, 1):  # convolution, norm
            table |= _pairs(f"{ours}.inputs.{index}.{part}", f"{theirs}.input_proj.{index}.{part}")
    inside = {
        "attention.offsets": "self_attn.sampling_offsets",
        "attention.weights": "self_attn.attention_weights",
        "attention.values": "self_attn.value_proj",
        "attention.output": "self_attn.output_proj",
        "attention_norm": "norm1",
        "up": "linear1",
        "down": "linear2",
        "norm": "norm2",
    }
    for index in range(DEPTH["encoder"]):
        for name, their_name in inside.items():
            table |= _pairs(
                f"{ours}.layers.{index}.{name}", f"{theirs}.transformer.encoder.layers.{index}.{their_name}"
            )
    for name, their_name in (("lateral", "adapter_1"), ("smooth", "layer_1")):
        table[f"{ours}.{name}.conv.weight"] = f"{theirs}.{their_name}.weight"
        table |= _pairs(f"{ours}.{name}.norm", f"{theirs}.{their_name}.norm")
    return table | _pairs(f"{ours}.to_masks", f"{theirs}.mask_features")


def _mask_decoder() -> dict[str, str]:
    ours, theirs = "mask_decoder", "sem_seg_head.predictor"
    table = {
        f"{ours}.positions.matrix": f"{theirs}.pe_layer.positional_encoding_gaussian_matrix",
        f"{ours}.level": f"{theirs}.level_embed.weight",
    }
    table |= _attention(f"{ours}.first", f"{theirs}.extra_self_attention_layer", "self_attn")
    for index in range(DEPTH["decoder"]):
        layer = f"{ours}.layers.{index}"
        across, within, thinking = (
            f"{theirs}.transformer_{name}_layers.{index}" for name in ("cross_attention", "self_attention", "ffn")
        )
        table |= _attention(f"{layer}.across", across, "multihead_attn")
        table |= _attention(f"{layer}.within", within, "self_attn")
        for name, their_name in (("up", "linear1"), ("down", "linear2"), ("norm", "norm")):
            table |= _pairs(f"{layer}.{name}", f"{thinking}.{their_name}")
    table |= _pairs(f"{ours}.norm", f"{theirs}.decoder_norm") | _pairs(f"{ours}.to_masks", f"{theirs}.feat_embed")
    for head in range(DEPTH["masks"]):
        for layer_index in range(3):
            for name, their_name in (("mask_heads", "mask_embed"), ("quality_heads", "iou_embed")):
                inside = f"{head}.layers.{layer_index}"
                table |= _pairs(f"{ours}.{name}.{inside}", f"{theirs}.{their_name}.{inside}")
    return table


def _prompt_encoder() -> dict[str, str]:
    ours, theirs = "prompt_encoder", "sem_seg_head.predictor.prompt_encoder"
    names = {
        "positions.matrix": "pos_emb.positional_encoding_gaussian_matrix",
        "corner": "corner_emb",
        "point": "point_emb",
        "box": "box_emb",
        "mask": "mask_emb",
        "sign": "attr_emb.weight",
    }
    return {f"{ours}.{name}": f"{theirs}.{their_name}" for name, their_name in names.items()}


# Ours, without `masks.` -> theirs.
LEARNED = _pixel_decoder() | _mask_decoder() | _prompt_encoder()  # 358


class Restored(NamedTuple):
    """A model in evaluation mode."""

    towers: ClipTowers
    network: UnpairSegNetwork


def read_official(path: Path) -> State:
    """The state dict inside a file of the authors' layout, unwrapped from `{"model": ...}`.

    Raises:
        WeightsError: no such file, or one that holds other things than tensors.
    """
    return read_bare_or_wrapped(path, "Unpair-Seg")


def from_official(official: State, clip: State | None = None) -> State:
    """The authors' weights and CLIP's towers as one flat state of ours.

    Args:
        official: of `read_official`.
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
    _require_names("stage one of Unpair-Seg", learned, LEARNED.values())
    towers = towers or dict(clip or {})
    if not towers:
        raise WeightsError(f"these weights come without CLIP; {ARCHITECTURE} has to be given with them")
    state = {MASKS + ours: learned[theirs].float() for ours, theirs in LEARNED.items()}
    return state | {CLIP + name: value.float() for name, value in towers.items()}


def to_official(state: State) -> State:
    """A state of ours in the authors' names, CLIP's towers with it; stage two's adapter is left out.

    Raises:
        WeightsError: tensors are missing or unknown.
    """
    learned = {name: value for name, value in state.items() if not name.startswith((CLIP, ADAPTER))}
    learned = {name.removeprefix(MASKS): value for name, value in learned.items()}
    _require_names("this model", learned, LEARNED)
    official = {theirs: learned[ours] for ours, theirs in LEARNED.items()}
    return official | {
        OFFICIAL_CLIP + name.removeprefix(CLIP): value for name, value in state.items() if name.startswith(CLIP)
    }


def restore(state: State) -> Restored:
    """Builds the model of a flat state, with an adapter if the state has one.

    Raises:
        WeightsError: tensors are missing, unknown, or of another shape.
    """
    towers = from_state(ARCHITECTURE, _under(CLIP, state), quick_gelu=False)
    masks = restore_masks({name: value for name, value in state.items() if not name.startswith((CLIP, ADAPTER))})
    of_adapter = _under(ADAPTER, state)
    adapter = RegionAdapter() if of_adapter else None
    if adapter is not None:
        _fill(adapter, of_adapter)
    network = UnpairSegNetwork(ClipTrunk(towers.visual), masks, adapter)
    return Restored(towers, network.eval().requires_grad_(False))


def restore_masks(state: State) -> PromptableMasks:
    """The learned part of stage one alone, from `masks.*`; errors as `restore`."""
    masks = PromptableMasks.published()
    _fill(masks, {name.removeprefix(MASKS): value for name, value in state.items()})
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


def _fill(module: nn.Module, state: State) -> None:
    wanted = module.state_dict()
    _require_names("this model", state, wanted)
    for name, value in wanted.items():
        if value.shape != state[name].shape:
            raise WeightsError(f"{name} is {list(state[name].shape)}; expected {list(value.shape)}")
    module.load_state_dict(state)


def _require_names(whose: str, state: State, needed: Collection[str]) -> None:
    missing, unknown = sorted(set(needed) - state.keys()), sorted(state.keys() - set(needed))
    if missing or unknown:
        raise WeightsError(f"not the weights of {whose}: missing {_listed(missing)}; unexpected {_listed(unknown)}")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "none"
