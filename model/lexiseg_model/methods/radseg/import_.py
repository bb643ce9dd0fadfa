"""Import RADSeg: C-RADIO's original checkpoint, which has the teacher heads, and SigLIP 2's text tower."""

from __future__ import annotations

import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lexiseg_model.catalogue.importing import Imported, ImportOptions, imported_from, own_card
from lexiseg_model.catalogue.transformers_model import (
    flat_state,
    load_pretrained,
    plain_config,
    read_pretrained,
    require_transformers,
)
from lexiseg_model.catalogue.weights import require_file, under
from lexiseg_model.errors import ForeignWeightsError, WeightsError
from lexiseg_model.methods.radseg.network import HEAD, NAME, RADIO, TEXTS

TOKENS = 64  # length of a text in the adaptor
HEADS = {1152: 16, 1280: 16}  # attention heads by width, where a head is not 64 wide; the weights do not tell
BASE = "base_model."
SPECTRAL = ".parametrizations.weight."  # in names of weights with spectral normalisation
MIN_NORM, EPSILON = 0.05, 1e-6


class Options(ImportOptions):
    """`checkpoint` is C-RADIO's `.pth.tar`, `texts` a folder as `google/siglip2-so400m-patch16-naflex` on the hub."""

    checkpoint: Path = Field(description="the .pth.tar of a C-RADIO with a SigLIP 2 teacher, as c-radio_v3-b_half")
    texts: Path = Field(description="folder of the SigLIP 2 whose texts that teacher knows, as the hub has it")


class Saved(NamedTuple):
    """A C-RADIO: `state` under transformers' names, `config`, and the `head` of its SigLIP 2 teacher."""

    state: dict[str, Tensor]
    config: dict[str, Any]
    head: dict[str, Tensor]


def read(options: Options) -> Imported:
    """Read both towers, the head that joins them, and the tokenizer.

    Raises:
        WeightsError: transformers is not installed, a file is missing or of another kind, or the widths differ.
    """
    require_transformers(NAME)
    from transformers import AutoTokenizer, SiglipTextModel  # optional, and slow to import

    saved = read_radio(options.checkpoint)
    texts, tokenizer = (read_pretrained(options.texts, kind, NAME) for kind in (SiglipTextModel, AutoTokenizer))
    width, head_width = texts.head.out_features, len(saved.head.get("final.2.bias", ()))
    if head_width != width:
        raise ForeignWeightsError(
            f"the head of {options.checkpoint.name} has width {head_width}, the texts of {options.texts} {width}; "
            "expected the SigLIP 2 that was its teacher: so400m-patch16-naflex of v3, giant-opt-patch16-384 of v4"
        )
    card = own_card("radseg")
    settings = {
        **card.settings,
        "config": saved.config,
        "text_config": plain_config(texts.config.to_dict()),
        "tokens": TOKENS,
        "padding": tokenizer.pad_token_id or 0,
    }
    parts = {RADIO: saved.state, HEAD: saved.head, TEXTS: flat_state(texts, tokenizer)}
    state = {prefix + name: value for prefix, tensors in parts.items() for name, value in tensors.items()}
    changes = {"settings": settings, "embedding": width, "lineage": imported_from(options.checkpoint, options.texts)}
    return Imported(card.model_copy(update=changes), state)


def read_radio(path: Path) -> Saved:
    """Read a `.pth.tar` of C-RADIO's authors without running pickled code.

    Raises:
        WeightsError: the file is missing, damaged, or not a C-RADIO with a SigLIP 2 teacher.
    """
    require_file(path)
    try:
        with torch.serialization.safe_globals([Namespace]):
            saved = torch.load(path, map_location="cpu", weights_only=True)
        state = saved.get("state_dict_ema") or saved["state_dict"]
        teachers = list(saved["args"].teachers)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{path}: not a checkpoint of C-RADIO's authors: {str(error).splitlines()[0]}") from None
    state = _plain({name.removeprefix("module."): value.float() for name, value in state.items()})
    for index, teacher in enumerate(teachers):
        if teacher.get("type") == "siglip2":
            head = under(f"_heads.{teacher['name']}.", state) or under(f"_heads.{index}.", state)
            return Saved(*_network(path, state), head)
    names = ", ".join(str(teacher.get("name")) for teacher in teachers)
    raise ForeignWeightsError(f"{path}: its teachers are {names}; expected one of type siglip2, as in C-RADIOv3 or v4")


def _network(path: Path, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The backbone's weights under transformers' names, and its configuration.

    Raises:
        ForeignWeightsError: not a C-RADIO vision transformer.
    """
    from transformers import RadioConfig, RadioModel  # optional, and slow to import

    backbone = {name: value for name, value in under(BASE, state).items() if "video_embedder" not in name}
    try:
        patches, positions = backbone["patch_generator.embedder.weight"], backbone["patch_generator.pos_embed"]
        hidden = len(backbone["blocks.0.mlp.fc1.weight"])
        n_prefix = len(backbone["patch_generator.cls_token.token"])
    except KeyError as missing:
        raise ForeignWeightsError(f"{path} has no {BASE}{missing.args[0]}; expected a C-RADIO of size B to H") from None
    width, side = len(patches), round((patches.shape[1] / 3) ** 0.5)
    config = {
        "hidden_size": width,
        "num_hidden_layers": sum(name.endswith(".norm1.weight") for name in backbone),
        "num_attention_heads": HEADS.get(width, max(1, width // 64)),
        "mlp_ratio": (hidden + 0.5) / width,  # transformers truncates the product
        "patch_size": side,
        "max_img_size": round(positions.shape[1] ** 0.5) * side,
        "num_cls_tokens": 1,
        "num_registers": n_prefix - 1,
        "summary_idxs": [0],
    }
    # transformers converts the names of the hub's wrapper around the authors' network.
    hub = {f"radio_model.model.{name}": value for name, value in backbone.items()}
    hub |= {f"radio_model.{name}": value for name, value in state.items() if name.startswith("input_conditioner.")}
    hub["radio_model.summary_idxs"] = torch.zeros(1, dtype=torch.long)
    model = load_pretrained(RadioModel, path, NAME, config=RadioConfig(**config), state_dict=hub)
    return flat_state(model), config


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Multiply out the weights with spectral normalisation; the others stay."""
    plain = {name: value for name, value in state.items() if SPECTRAL not in name}
    for name, weight in state.items():
        if name.endswith(SPECTRAL + "original"):
            spectral = under(name.removesuffix("original") + "0.", state)
            norm = spectral["_u"] @ weight @ spectral["_v"] + EPSILON
            scale = F.softplus(spectral["scale"]) + MIN_NORM if "_sn_version" in spectral else spectral["scale"]
            plain[name.removesuffix(SPECTRAL + "original") + ".weight"] = weight * scale.flatten()[0] / norm
    return plain
