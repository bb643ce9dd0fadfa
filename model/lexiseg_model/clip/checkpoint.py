"""Read the weights of a CLIP model from a file of any writer, as one flat state dict in open_clip's names."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from torch import Tensor

from lexiseg_model.catalogue.weights import file_digest, is_torchscript, naming_files, read_tensor_file, under
from lexiseg_model.errors import OptionError, WeightsError

logger = logging.getLogger(__name__)

SUFFIX = "-quickgelu"  # of open_clip's architecture names
State = dict[str, Tensor]
WRAPPER_KEYS = ("state_dict", "model", "model_state_dict")  # keys under which training code keeps the weights
PREFIXES = ("_orig_mod.", "module.", "model.", "clip.", "clip_model.", "backbone.clip_model.")
# Numbers that OpenAI's archives carry among the weights; no other writer does.
OPENAI_MARKERS = ("input_resolution", "context_length", "vocab_size")
# Written along by some versions and built by the model itself: masks and position numbers are no weights.
DERIVED = ("attn_mask", "text.attn_mask", "text.transformer.embeddings.position_ids")


@dataclass(frozen=True)
class Evidence:
    """The activation that the weights need, as far as it is known, and the source of that."""

    quick_gelu: bool
    reason: str


def split_architecture(architecture: str) -> tuple[str, bool]:
    """`ViT-B-16-quickgelu` -> (`ViT-B-16`, True); the suffix declares QuickGELU."""
    name = architecture.removesuffix(SUFFIX)
    return name, name != architecture


def decide(architecture: str, explicit: bool | None, evidence: Evidence | None, unmarked: bool) -> bool:
    """Whether to build with QuickGELU: by `explicit`, the `evidence` of the weights, the name, or else `unmarked`."""
    declared = split_architecture(architecture)[1]
    if explicit is not None:
        if declared and not explicit:
            raise OptionError(f"quick_gelu=false was asked for, but {architecture} stands for QuickGELU")
        if evidence is not None and evidence.quick_gelu != explicit:
            raise WeightsError(
                f"quick_gelu={str(explicit).lower()} was asked for, but these weights were trained with "
                f"{_name(evidence.quick_gelu)} ({evidence.reason})"
            )
        return explicit
    if evidence is not None:
        # A name without the suffix is how people say the architecture; open_clip's file of that name means GELU.
        if evidence.quick_gelu != declared:
            message = "%s stands for %s, but these weights were trained with %s (%s): built with it"
            names = architecture, _name(declared), _name(evidence.quick_gelu)
            logger.warning(message, *names, evidence.reason)
        return evidence.quick_gelu
    if declared:
        return True
    logger.warning(
        "nothing says which activation these %s weights were trained with: %s is assumed; "
        "quick_gelu (`--activation`) decides",
        architecture,
        _name(unmarked),
    )
    return unmarked


def _name(quick_gelu: bool) -> str:
    return "QuickGELU" if quick_gelu else "GELU"


class Checkpoint(NamedTuple):
    """A float32 state dict in open_clip's names, and the evidence for its activation function."""

    state: State
    evidence: Evidence | None


def read_checkpoint(path: Path, *, allow_torchscript: bool = False) -> Checkpoint:
    """Read one file; the code of a TorchScript archive is run only with `allow_torchscript`, for the one-time
    import."""
    inner: Mapping[str, Any]
    evidence: Evidence | None
    if allow_torchscript and is_torchscript(path):
        inner, evidence = _read_torchscript(path), Evidence(True, "a TorchScript archive as OpenAI publishes them")
    else:
        raw = read_tensor_file(path)
        inner = _unwrapped(raw)
        evidence = _activation_evidence(path, raw, inner)
    with naming_files(path):
        return Checkpoint(tidy(inner), evidence)


def read_tensors(path: Path) -> State:
    """Read the tensors of a file of any model as float32; names are unchanged but for wrappers of the state."""
    return _floats(_unwrapped(read_tensor_file(path)))


def _floats(state: Mapping[str, Any]) -> State:
    """The tensors of a state dict, float32 where they are floating point."""
    tensors = ((name, value) for name, value in state.items() if isinstance(value, Tensor))
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors}


def tidy(raw: Mapping[str, Any]) -> State:
    """Convert a state dict to float32 and open_clip's names: no wrapper prefixes, image towers under `visual.`."""
    tensors = _floats(raw)
    while prefix := next((each for each in PREFIXES if any(name.startswith(each) for name in tensors)), None):
        tensors = under(prefix, tensors)
    if "conv1.weight" in tensors and "class_embedding" in tensors:  # only an image tower
        tensors = {f"visual.{name}": value for name, value in tensors.items()}
    prefixes = ("visual.", "text.", "transformer.", "token_embedding.")
    if not any(name.startswith(prefixes) for name in tensors):
        raise WeightsError(f"no CLIP weights: expected visual.* and transformer.*, got {sorted(tensors)[:3]}")
    return {name: value for name, value in tensors.items() if name not in (*OPENAI_MARKERS, *DERIVED)}


def _unwrapped(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    wrapper = next((key for key in WRAPPER_KEYS if isinstance(raw.get(key), Mapping)), None)
    inner: Mapping[str, Any] = raw if wrapper is None else raw[wrapper]
    return inner


def _activation_evidence(path: Path, raw: Mapping[str, Any], inner: Mapping[str, Any]) -> Evidence | None:
    """What a file, its content and the state dict in it show of the activation; None: nothing."""
    beside = path.parent / "open_clip_config.json"
    if beside.is_file():
        try:
            config = json.loads(beside.read_text())
            return Evidence(bool(config["model_cfg"].get("quick_gelu", False)), f"{beside.name} beside the file")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise WeightsError(f"{beside} is not an open_clip configuration with a model_cfg") from None
    if all(marker in inner for marker in OPENAI_MARKERS):
        return Evidence(True, "the state dict of an OpenAI archive")
    kinds = {name: value.dtype for name, value in inner.items() if isinstance(value, Tensor)}
    if kinds.get("visual.conv1.weight") == torch.float16 and kinds.get("visual.ln_post.weight") == torch.float32:
        return Evidence(True, "layer norms in float32 among weights in float16, as in OpenAI's models")
    if "state_dict" in raw and "epoch" in raw:
        # open_clip's training loop writes its architecture's name; its own default activation is GELU.
        name = str(raw.get("name", ""))
        return Evidence("quickgelu" in name.lower(), "a checkpoint of open_clip's training")
    if file_digest(path) in openai_digests():
        return Evidence(True, "a file that OpenAI published")
    return None


def openai_digests() -> set[str]:
    """SHA-256 of the files that OpenAI published; open_clip's list has them in the addresses."""
    names = open_clip.list_pretrained_models_by_tag("openai")
    return {open_clip.get_pretrained_url(name, "openai").split("/")[-2] for name in names}


def require_same_towers(trained_over: State, towers: State) -> None:
    """Raise WeightsError if weights were trained over other `towers`; they may be stored in another number type."""
    for name in trained_over.keys() & towers.keys():
        one, other = trained_over[name].float(), towers[name].float()
        if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-2, atol=1e-3):
            raise WeightsError(f"these weights were trained over another CLIP than the one given: {name} differs")


def _read_torchscript(path: Path) -> State:
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # torch deprecates the format
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())
    except RuntimeError as error:
        raise WeightsError(f"{path} cannot be read as a TorchScript archive: {str(error).splitlines()[0]}") from None
