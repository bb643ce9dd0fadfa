"""Names of stage one's tensors: ours and those of the authors' checkpoint, for any number of layers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from lexiseg_model.methods.unpair_seg.layers.prompts import GRANULARITIES

LEVELS = 3  # of CLIP's maps that the pixel decoder's encoder sees

# What stands before the number of a layer, of the encoder and of the decoder.
OURS = ("pixel_decoder.layers.", "mask_decoder.layers.")
THEIRS = (
    "sem_seg_head.pixel_decoder.transformer.encoder.layers.",
    "sem_seg_head.predictor.transformer_ffn_layers.",
)


class Depth(NamedTuple):
    """Layers of the pixel decoder's encoder and of the mask decoder; the defaults are the published ones."""

    encoder: int = 6
    decoder: int = 9


PUBLISHED = Depth()


def depth_of(names: Iterable[str], prefixes: tuple[str, str]) -> Depth:
    """How many layers these tensors are of; the published number where none is there, so that its absence is told."""
    all_names = list(names)
    depths = []
    for prefix, published in zip(prefixes, PUBLISHED, strict=True):
        layers = [int(match[1]) for name in all_names if (match := re.match(rf"{re.escape(prefix)}(\d+)\.", name))]
        depths.append(max(layers) + 1 if layers else published)
    return Depth(*depths)


@cache
def learned_names(depth: Depth = PUBLISHED) -> dict[str, str]:
    """Our name of every learned tensor -> theirs: 358 of the published depth."""
    return _pixel_decoder(depth.encoder) | _mask_decoder(depth.decoder) | _prompt_encoder()


def _pairs(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}


def _attention(ours: str, theirs: str, kind: str) -> dict[str, str]:
    """A packed attention with its norm."""
    packed = {f"{ours}.attention.{name}": f"{theirs}.{kind}.{name}" for name in ("in_proj_weight", "in_proj_bias")}
    projected = _pairs(f"{ours}.attention.out_proj", f"{theirs}.{kind}.out_proj")
    return packed | projected | _pairs(f"{ours}.norm", f"{theirs}.norm")


def _pixel_decoder(n_layers: int) -> dict[str, str]:
    ours, theirs = "pixel_decoder", "sem_seg_head.pixel_decoder"
    table = {
        f"{ours}.positions.matrix": f"{theirs}.pe_layer.positional_encoding_gaussian_matrix",
        f"{ours}.level": f"{theirs}.transformer.level_embed",
    }
    for index in range(LEVELS):
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
    for index in range(n_layers):
        for name, their_name in inside.items():
            table |= _pairs(
                f"{ours}.layers.{index}.{name}", f"{theirs}.transformer.encoder.layers.{index}.{their_name}"
            )
    for name, their_name in (("lateral", "adapter_1"), ("smooth", "layer_1")):
        table[f"{ours}.{name}.conv.weight"] = f"{theirs}.{their_name}.weight"
        table |= _pairs(f"{ours}.{name}.norm", f"{theirs}.{their_name}.norm")
    return table | _pairs(f"{ours}.to_masks", f"{theirs}.mask_features")


def _mask_decoder(n_layers: int) -> dict[str, str]:
    ours, theirs = "mask_decoder", "sem_seg_head.predictor"
    table = {
        f"{ours}.positions.matrix": f"{theirs}.pe_layer.positional_encoding_gaussian_matrix",
        f"{ours}.level": f"{theirs}.level_embed.weight",
    }
    table |= _attention(f"{ours}.first", f"{theirs}.extra_self_attention_layer", "self_attn")
    for index in range(n_layers):
        layer = f"{ours}.layers.{index}"
        across, within, thinking = (
            f"{theirs}.transformer_{name}_layers.{index}" for name in ("cross_attention", "self_attention", "ffn")
        )
        table |= _attention(f"{layer}.across", across, "multihead_attn")
        table |= _attention(f"{layer}.within", within, "self_attn")
        for name, their_name in (("up", "linear1"), ("down", "linear2"), ("norm", "norm")):
            table |= _pairs(f"{layer}.{name}", f"{thinking}.{their_name}")
    table |= _pairs(f"{ours}.norm", f"{theirs}.decoder_norm") | _pairs(f"{ours}.to_masks", f"{theirs}.feat_embed")
    for head in range(1 + GRANULARITIES):
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
