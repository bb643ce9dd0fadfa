"""Import a TIPSv2 checkpoint in the hub's layout with transformers, or the archives of google-deepmind/tips."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.importing import Imported, ImportOptions, from_own_card
from lexiseg_model.catalogue.transformers_model import (
    build_network,
    flat_state,
    load_pretrained,
    plain_config,
    read_pretrained,
    require_tokenizer,
    require_transformers,
)
from lexiseg_model.catalogue.weights import n_layers, naming_files
from lexiseg_model.errors import WeightsError

IMAGES, TEXTS = "_vision.npz", "_text.npz"  # ends of the names
HEADS = {384: 6, 768: 12, 1024: 16}  # by width: S, B, L
NAMES = (
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.in_proj_", r"text_model.encoder.layers.\1.self_attn.qkv_proj."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.", r"text_model.encoder.layers.\1.self_attn."),
    (r"^transformer\.resblocks\.(\d+)\.ln_", r"text_model.encoder.layers.\1.layer_norm"),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r"text_model.encoder.layers.\1.mlp.fc1."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r"text_model.encoder.layers.\1.mlp.fc2."),
    (r"^pos_embed$", "vision_model.embeddings.position_embeddings"),
    (r"^(cls_token|mask_token|register_tokens)$", r"vision_model.embeddings.\1"),
    (r"^patch_embed\.proj\.", "vision_model.embeddings.patch_embeddings.projection."),
    (r"^norm\.", "vision_model.layernorm."),
    (r"^blocks\.(\d+)\.attn\.qkv\.", r"vision_model.encoder.layer.\1.attention.qkv_proj."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"vision_model.encoder.layer.\1.attention.o_proj."),
    (r"^blocks\.(\d+)\.ls(\d)\.gamma$", r"vision_model.encoder.layer.\1.layer_scale\2.lambda1"),
    (r"^blocks\.(\d+)\.", r"vision_model.encoder.layer.\1."),
)

NAME = "TIPSv2"
TOKENS = 64  # of Tipsv2Processor
FIRST = "tips-s14"  # in `available.yaml`; the terms of all files of google-deepmind/tips


def released_files(folder: Path) -> list[Path]:
    """The archives in a folder: of images, of texts; empty if it has neither."""
    of_kinds = {end: sorted(folder.glob(f"*{end}")) for end in (IMAGES, TEXTS)}
    if not any(of_kinds.values()):
        return []
    for end, files in of_kinds.items():
        if not files:
            raise WeightsError(f"{folder} has no *{end}; expected the archives of images and of texts of TIPS")
        if len(files) > 1:
            raise WeightsError(f"{folder} has {len(files)} files *{end}; expected one, and the one of its texts")
    return [files[0] for files in of_kinds.values()]


def read_released(files: Sequence[Path]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and state of transformers' `Tipsv2Model`, of the archives of images and of texts."""
    arrays = {name: value for file in files for name, value in _arrays(file).items()}
    try:
        width, patch = arrays["norm.weight"].numel(), arrays["patch_embed.proj.weight"].shape[-1]
        if width not in HEADS:
            raise WeightsError(f"{files[0]}: a width of {width}; expected {', '.join(map(str, HEADS))}: S, B or L")
        positions = arrays["pos_embed"].shape[1]
        if positions < 2:
            raise WeightsError(f"{files[0]}: pos_embed of {positions} positions; expected one more than cells")
        vision = {
            "num_hidden_layers": n_layers(arrays, r"blocks\.(\d+)\."),
            "mlp_ratio": arrays["blocks.0.mlp.fc1.bias"].numel() / width,
            "image_size": math.isqrt(positions - 1) * patch,
            "patch_size": patch,
        }
        text = {
            "num_hidden_layers": n_layers(arrays, r"transformer\.resblocks\.(\d+)\."),
            "intermediate_size": arrays["transformer.resblocks.0.mlp.c_fc.bias"].numel(),
            "vocab_size": len(arrays["token_embedding.weight"]),
        }
    except (KeyError, IndexError) as error:
        raise WeightsError(f"{files[0]}, {files[1]}: no array {error}; expected TIPS S, B or L") from None
    layers = {"hidden_size": width, "num_attention_heads": HEADS[width]}
    arrays["temperature"] = arrays.get("temperature", torch.ones(())).reshape(())
    arrays.setdefault("mask_token", torch.zeros(1, width))  # of training
    return {"vision_config": layers | vision, "text_config": layers | text}, _renamed(arrays)


def _arrays(file: Path) -> dict[str, Tensor]:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]).float() for name in archive.files}
    except Exception as error:  # zipfile, numpy and torch raise errors of many types
        raise WeightsError(f"{file} is damaged, cut short, or no archive of arrays: {error}") from None


def _renamed(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The arrays by transformers' names, queries, keys and values each by themselves."""
    state: dict[str, Tensor] = {}
    for name, value in arrays.items():
        for pattern, replacement in NAMES:
            name, n_replaced = re.subn(pattern, replacement, name)
            if n_replaced:
                break
        if ".qkv_proj." in name:
            state |= {name.replace("qkv", kind): part.clone() for kind, part in zip("qkv", value.chunk(3), strict=True)}
        else:
            state[name] = value
    return state


class Options(ImportOptions):
    """`checkpoint` is a folder as `google/tipsv2-b14` on the hub, or with the files that google-deepmind/tips names."""

    checkpoint: Path = Field(
        description="folder of a TIPSv2 as the hub has it, or of *_vision.npz, *_text.npz and tokenizer.model"
    )


def read(options: Options) -> Imported:
    """Read the weights, the configuration and the tokenizer."""
    require_transformers(NAME)
    from transformers import Tipsv2Config, Tipsv2Model, Tipsv2Tokenizer  # optional, and slow to import

    folder = options.checkpoint
    files = released_files(folder)
    if files:
        config, state = read_released(files)
        with naming_files(*files):
            model = build_network(Tipsv2Model, Tipsv2Config(**config), state, "TIPS")
    else:
        model = read_pretrained(folder, Tipsv2Model, NAME)
    require_tokenizer(folder, NAME)
    tokenizer = load_pretrained(Tipsv2Tokenizer, folder, NAME)
    if tokenizer.pad_token_id is None:
        raise WeightsError(f"{folder}: the tokenizer has no padding; expected TIPSv2's")
    settings = {"config": plain_config(model.config.to_dict()), "tokens": TOKENS, "padding": tokenizer.pad_token_id}
    changes = (available()[FIRST].card if files else {}) | {"embedding": model.config.vision_config.hidden_size}
    return from_own_card("tipsv2", flat_state(model, tokenizer), files or [folder], settings, **changes)
