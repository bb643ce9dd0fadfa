"""Import RADSeg: C-RADIO's original checkpoint, which has the teacher heads, and SigLIP 2's text tower."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lexiseg_model.catalogue.importing import Imported, ImportOptions, from_own_card
from lexiseg_model.catalogue.transformers_model import (
    flat_state,
    load_pretrained,
    plain_config,
    read_pretrained,
    require_tokenizer,
    require_transformers,
)
from lexiseg_model.catalogue.weights import under
from lexiseg_model.clip.checkpoint import read_torch
from lexiseg_model.errors import ForeignWeightsError

NAME = "RADSeg"
RADIO, HEAD, TEXTS = "radio.", "head.", "text."  # prefixes of weight names in a model directory
TOKENS = 64  # length of a text in the adaptor
HEADS = {1152: 16, 1280: 16}  # attention heads by width, where a head is not 64 wide; the weights do not tell
BASE, VIDEO = "base_model.", "video_embedder"  # the backbone's weights, and those that no picture needs
SPECTRAL = ".parametrizations.weight."  # in names of weights with spectral normalisation
MIN_NORM, EPSILON = 0.05, 1e-6


class Options(ImportOptions):
    """`checkpoint` is C-RADIO's `.pth.tar`, `texts` a folder as `google/siglip2-so400m-patch16-naflex` on the hub."""

    checkpoint: Path = Field(description="the .pth.tar of a C-RADIO with a SigLIP 2 teacher, as c-radio_v3-b_half")
    texts: Path = Field(description="folder of the SigLIP 2 whose texts that teacher knows, as the hub has it")


def read(options: Options) -> Imported:
    """Read both towers, the head that joins them, and the tokenizer.

    Raises:
        WeightsError: transformers is not installed, a file is missing or of another kind, or the widths differ.
    """
    require_transformers(NAME)
    from transformers import AutoTokenizer, SiglipTextModel  # optional, and slow to import

    require_tokenizer(options.texts, "SigLIP 2")
    radio, head = read_radio(options.checkpoint)
    texts, tokenizer = (read_pretrained(options.texts, kind, NAME) for kind in (SiglipTextModel, AutoTokenizer))
    width, head_width = texts.head.out_features, len(head.get("final.2.bias", ()))
    if head_width != width:
        raise ForeignWeightsError(
            f"the head of {options.checkpoint.name} has width {head_width}, the texts of {options.texts} {width}; "
            "expected the SigLIP 2 that was its teacher: so400m-patch16-naflex of v3, giant-opt-patch16-384 of v4"
        )
    settings = {
        "config": plain_config(radio.config.to_dict()),
        "text_config": plain_config(texts.config.to_dict()),
        "tokens": TOKENS,
        "padding": tokenizer.pad_token_id or 0,
    }
    parts = {RADIO: flat_state(radio), HEAD: head, TEXTS: flat_state(texts, tokenizer)}
    state = {prefix + name: value for prefix, tensors in parts.items() for name, value in tensors.items()}
    return from_own_card("radseg", state, [options.checkpoint, options.texts], settings, embedding=width)


def read_radio(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """Read transformers' `RadioModel` and its SigLIP 2 teacher's head from the authors' file, running no code of it.

    Raises:
        WeightsError: the file is missing, damaged, or not a C-RADIO with a SigLIP 2 teacher.
    """
    with torch.serialization.safe_globals([Namespace]):
        saved = read_torch(path)
    try:
        state = saved.get("state_dict_ema") or saved["state_dict"]
        teachers = {teacher["name"]: teacher["type"] for teacher in vars(saved["args"])["teachers"]}
        state = _plain({name.removeprefix("module."): value.float() for name, value in state.items()})
        if "siglip2" not in teachers.values():
            raise ForeignWeightsError(f"{path}: its teachers are {', '.join(teachers)}; expected a SigLIP 2, as of v3")
        index = list(teachers.values()).index("siglip2")
        head = under(f"_heads.{list(teachers)[index]}.", state) or under(f"_heads.{index}.", state)
        return _radio(path, state), head
    except (KeyError, AttributeError, TypeError) as error:
        reason = f"it has no {error.args[0]}" if isinstance(error, KeyError) else error
        raise ForeignWeightsError(f"{path}: not a checkpoint of C-RADIO's authors: {reason}") from None


def _radio(path: Path, state: dict[str, Tensor]) -> Any:
    """The backbone from the authors' names; KeyError where one is missing."""
    from transformers import RadioConfig, RadioModel  # optional, and slow to import

    patches, positions = (state[f"{BASE}patch_generator.{name}"] for name in ("embedder.weight", "pos_embed"))
    width, side = len(patches), round((patches.shape[1] / 3) ** 0.5)
    config = RadioConfig(
        hidden_size=width,
        num_hidden_layers=sum(name.startswith(BASE) and name.endswith(".norm1.weight") for name in state),
        num_attention_heads=HEADS.get(width, max(1, width // 64)),
        mlp_ratio=(len(state[f"{BASE}blocks.0.mlp.fc1.weight"]) + 0.5) / width,  # transformers truncates the product
        patch_size=side,
        max_img_size=round(positions.shape[1] ** 0.5) * side,
        num_cls_tokens=len(state[f"{BASE}patch_generator.cls_token.token"]),  # and registers: no summary is read
        num_registers=0,
        summary_idxs=[0],
    )
    # transformers converts the names of the hub's wrapper around the authors' network.
    hub = {f"radio_model.model.{name}": value for name, value in under(BASE, state).items() if VIDEO not in name}
    hub |= {f"radio_model.{name}": value for name, value in state.items() if name.startswith("input_conditioner.")}
    hub["radio_model.summary_idxs"] = torch.zeros(1, dtype=torch.long)
    return load_pretrained(RadioModel, path, NAME, config=config, state_dict=hub)


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
