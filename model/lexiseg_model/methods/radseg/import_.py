"""Read C-RADIO's own checkpoint, which alone has the heads of its teachers, and SigLIP 2's text tower beside it."""

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
from lexiseg_model.catalogue.transformers_model import flat_state, plain_config, read_pretrained, require_transformers
from lexiseg_model.catalogue.weights import require_file, under
from lexiseg_model.errors import ForeignWeightsError, WeightsError
from lexiseg_model.methods.radseg.network import HEAD, NAME, RADIO, TEXTS

TOKENS = 64  # of a text, as the adaptor has it
HEADS = {768: 12, 1024: 16, 1152: 16, 1280: 16, 1536: 24}  # of attention, by width; no weight shows them
BASE = "base_model."
RENAMED = {
    "patch_generator.embedder": "embeddings.patch_projection",
    "patch_generator.pos_embed": "embeddings.position_embedding",
    "patch_generator.cls_token.token": "embeddings.cls_register_token",
    "blocks": "encoder.layer",
    "attn.proj": "attention.o_proj",
    "ls1.grandma": "layer_scale1.lambda1",
    "ls2.grandma": "layer_scale2.lambda1",
}
SPECTRAL = ".parametrizations.weight."  # of a weight that is kept as a direction and a norm
SMALLEST_NORM, EPSILON = 0.05, 1e-6


class Options(ImportOptions):
    """`checkpoint` is C-RADIO's `.pth.tar`, `texts` a folder as `google/siglip2-so400m-patch16-naflex` on the hub."""

    checkpoint: Path = Field(description="the .pth.tar of a C-RADIO with a SigLIP 2 teacher, as c-radio_v3-b_half")
    texts: Path = Field(description="folder of the SigLIP 2 whose texts that teacher knows, as the hub has it")


class Saved(NamedTuple):
    """A C-RADIO: `state` in transformers' names, its configuration, and the head of its SigLIP 2 teacher."""

    state: dict[str, Tensor]
    config: dict[str, Any]
    head: dict[str, Tensor]


def read(options: Options) -> Imported:
    """Both towers, the head between them, and the tokenizer.

    Raises:
        WeightsError: transformers is not installed, a file is missing or of another kind, or the towers do not meet.
    """
    require_transformers(NAME)
    from transformers import AutoTokenizer, SiglipTextModel  # optional, and slow to import

    saved = read_radio(options.checkpoint)
    texts, tokenizer = (read_pretrained(options.texts, kind, NAME) for kind in (SiglipTextModel, AutoTokenizer))
    width, made = texts.head.out_features, len(saved.head.get("final.2.bias", ()))
    if made != width:
        raise ForeignWeightsError(
            f"the head of {options.checkpoint.name} gives {made} numbers, the texts of {options.texts} have {width}; "
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
    state = {prefix + name: value for prefix, some in parts.items() for name, value in some.items()}
    changes = {"settings": settings, "embedding": width, "lineage": imported_from(options.checkpoint, options.texts)}
    return Imported(card.model_copy(update=changes), state)


def read_radio(path: Path) -> Saved:
    """A `.pth.tar` of C-RADIO's authors; nothing in it is run.

    Raises:
        WeightsError: no such file, damaged, or holding no C-RADIO with a SigLIP 2 teacher.
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
    for place, teacher in enumerate(teachers):
        if teacher.get("type") == "siglip2":
            head = under(f"_heads.{teacher['name']}.", state) or under(f"_heads.{place}.", state)
            return Saved(*_network(path, state), head)
    names = ", ".join(str(teacher.get("name")) for teacher in teachers)
    raise ForeignWeightsError(f"{path}: its teachers are {names}; expected one of type siglip2, as in C-RADIOv3 and v4")


def _network(path: Path, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The backbone's weights in transformers' names, and its configuration.

    Raises:
        ForeignWeightsError: no vision transformer as C-RADIO's.
    """
    own = {name: value for name, value in under(BASE, state).items() if "video_embedder" not in name}
    try:
        patches, positions = own["patch_generator.embedder.weight"], own["patch_generator.pos_embed"]
        hidden = len(own["blocks.0.mlp.fc1.weight"])
        before = len(own["patch_generator.cls_token.token"])
    except KeyError as missing:
        raise ForeignWeightsError(f"{path} has no {BASE}{missing.args[0]}; expected a C-RADIO of size B to H") from None
    width, side = len(patches), round((patches.shape[1] / 3) ** 0.5)
    n_layers = 1 + max(int(name.split(".")[1]) for name in own if name.startswith("blocks."))
    config = {
        "hidden_size": width,
        "num_hidden_layers": n_layers,
        "num_attention_heads": HEADS.get(width, max(1, width // 64)),
        "mlp_ratio": (hidden + 0.5) / width,  # transformers cuts the product
        "patch_size": side,
        "max_img_size": round(positions.shape[1] ** 0.5) * side,
        "num_cls_tokens": 1,
        "num_registers": before - 1,
        "summary_idxs": [0],
    }
    made = {"summary_idxs": torch.zeros(1, dtype=torch.long)}
    for name, value in own.items():
        for old, new in RENAMED.items():
            name = name.replace(old, new)
        if ".attn.qkv." in name:
            for which, third in zip("qkv", value.chunk(3), strict=True):
                made[name.replace("attn.qkv", f"attention.{which}_proj")] = third.contiguous()
        else:
            made[name] = value
    for layer in range(n_layers):
        for scale in ("layer_scale1", "layer_scale2"):
            made.setdefault(f"encoder.layer.{layer}.{scale}.lambda1", torch.ones(width))
    return made | {
        f"input_conditioner.{name}": value for name, value in under("input_conditioner.", state).items()
    }, config


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that are kept as direction and spectral norm, multiplied out; the others as they are."""
    plain = {name: value for name, value in state.items() if SPECTRAL not in name}
    for name, weight in state.items():
        if name.endswith(SPECTRAL + "original"):
            own = under(name.removesuffix("original") + "0.", state)
            norm = own["_u"] @ weight @ own["_v"] + EPSILON
            scale = F.softplus(own["scale"]) + SMALLEST_NORM if "_sn_version" in own else own["scale"]
            plain[name.removesuffix(SPECTRAL + "original") + ".weight"] = weight * scale.flatten()[0] / norm
    return plain
