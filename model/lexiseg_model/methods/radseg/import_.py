"""Import RADSeg: C-RADIO's original checkpoint, which has the teacher heads, and SigLIP 2's text tower."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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
from lexiseg_model.catalogue.weights import naming_files, read_torch, under
from lexiseg_model.errors import ForeignWeightsError
from lexiseg_model.methods.radseg.head import NAME, head_of

RADIO, HEAD, TEXTS = "radio.", "head.", "text."  # prefixes of weight names in a model directory
TOKENS = 64  # length of a text in the adaptor
HEADS = {1152: 16, 1280: 16}  # attention heads by width, where a head is not 64 wide; the weights do not tell
BASE, VIDEO = "base_model.", "video_embedder"  # the backbone's weights, and those that no picture needs
SPECTRAL = ".parametrizations.weight."  # in names of weights with spectral normalisation
MIN_NORM, EPSILON = 0.05, 1e-6
GIANTS = ("siglip2-g-384", "siglip2-g")  # as the authors call this teacher's model


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
    radio, head, repository = read_radio(options.checkpoint)
    texts, tokenizer = (read_pretrained(options.texts, kind, NAME) for kind in (SiglipTextModel, AutoTokenizer))
    width, head_width = texts.head.out_features, len(head.get("final.2.bias", ()))
    if head_width != width:
        raise ForeignWeightsError(
            f"the head of {options.checkpoint.name} has width {head_width}, the texts of {options.texts} {width}; "
            f"expected {repository}, which the file names as its teacher"
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


class Radio(NamedTuple):
    """C-RADIO's file."""

    backbone: Any  # transformers' `RadioModel`
    head: dict[str, Tensor]  # of its SigLIP 2 teacher
    texts: str  # repository of that teacher


def read_radio(path: Path) -> Radio:
    """Read backbone, head and teacher from the authors' file, running no code of it.

    Raises:
        WeightsError: the file is missing, damaged, or not a C-RADIO with a SigLIP 2 teacher.
    """
    with _naming_faults(path):
        saved = _saved(path)
        index, teacher = _siglip2(path, saved)
        state = saved.get("state_dict_ema") or saved["state_dict"]
        state = _plain({name.removeprefix("module."): value.float() for name, value in state.items()})
        head = under(f"_heads.{teacher['name']}.", state) or under(f"_heads.{index}.", state)
        backbone = _radio(path, state)
        with naming_files(path):
            head_of(head)  # refused before anything is written
        return Radio(backbone, head, texts_of(teacher))


def read_texts_repository(path: Path) -> str:
    """Repository of the SigLIP 2 whose texts a C-RADIO knows; maps the file, and errors are those of `read_radio`."""
    with _naming_faults(path):
        return texts_of(_siglip2(path, _saved(path, mmap=True))[1])


def texts_of(teacher: Mapping[str, str]) -> str:
    """Repository of a teacher, by its model or by its adaptor's name."""
    model = teacher.get("model", "")
    giant = model in GIANTS if model else teacher["name"].startswith("siglip2-g")
    return "google/siglip2-giant-opt-patch16-384" if giant else "google/siglip2-so400m-patch16-naflex"


def _saved(path: Path, mmap: bool = False) -> Mapping[str, Any]:
    with torch.serialization.safe_globals([Namespace]):
        return read_torch(path, mmap=mmap)


def _siglip2(path: Path, saved: Mapping[str, Any]) -> tuple[int, Mapping[str, str]]:
    """Number and description of the SigLIP 2 teacher. KeyError, AttributeError, TypeError: not of the authors."""
    teachers = vars(saved["args"])["teachers"]
    for index, teacher in enumerate(teachers):
        if teacher["type"] == "siglip2":
            return index, teacher
    names = ", ".join(teacher["name"] for teacher in teachers) or "none"
    raise ForeignWeightsError(f"{path}: its teachers are {names}; expected a SigLIP 2, as of v3")


@contextmanager
def _naming_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, AttributeError, TypeError) as error:
        reason = f"it has no {error.args[0]}" if isinstance(error, KeyError) else error
        raise ForeignWeightsError(
            f"{path}: not a checkpoint of C-RADIO's authors: {reason}; expected their .pth.tar, args with teachers and "
            "a state_dict"
        ) from None


def _radio(path: Path, state: dict[str, Tensor]) -> Any:
    """The backbone from the authors' names; KeyError where one is missing."""
    from transformers import RadioConfig, RadioModel  # optional, and slow to import

    patches, positions = (state[f"{BASE}patch_generator.{name}"] for name in ("embedder.weight", "pos_embed"))
    if patches.ndim != 2 or positions.ndim != 3:
        raise ForeignWeightsError(
            f"{path}: patches {list(patches.shape)} and positions {list(positions.shape)} of another network; expected "
            "[width, 3 * side * side] and [1, cells, width]"
        )
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
