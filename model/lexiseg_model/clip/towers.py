"""Both towers of any open_clip model: built by open_clip, filled from its hub or from files, activation decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import open_clip
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from torch import Tensor, nn

from lexiseg_model.catalogue.hub import fetch, missing
from lexiseg_model.catalogue.weights import SkipInit, naming_files, require_tensors
from lexiseg_model.clip.checkpoint import Evidence, State, decide, read_checkpoint, split_architecture
from lexiseg_model.errors import OptionError, WeightsError

# Of the small pair that is trained here: a name like any other of open_clip's.
open_clip.add_model_config(Path(__file__).parent / "data" / "architectures")
CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # as open_clip looks for them
_tokenizers: WeakValueDictionary[str, Any] = WeakValueDictionary()  # by architecture; open_clip is untyped


@dataclass(frozen=True)
class ClipTowers:
    """A CLIP model in evaluation mode, without gradients; `architecture` is open_clip's name without `-quickgelu`."""

    model: nn.Module  # open_clip.CLIP or CustomTextCLIP
    architecture: str
    quick_gelu: bool

    @property
    def visual(self) -> nn.Module:
        """The image tower."""
        visual = self.model.visual
        assert isinstance(visual, nn.Module)
        return visual

    @property
    def state(self) -> State:
        """Weights of both towers in open_clip's names, as `clip_from_state` takes them."""
        return dict(self.model.state_dict())


def clip_from_hub(
    architecture: str, tag: str, *, quick_gelu: bool | None = None, model: str | None = None
) -> ClipTowers:
    """An open_clip model by its pretrained tag; downloads once, then reads the hub's cache.

    Args:
        architecture: open_clip's name, with or without `-quickgelu`.
        tag: such as `openai` or `laion2b_s34b_b88k`.
        quick_gelu: the activation, None to take the tag's.
        model: as in `hub.fetch`.

    Raises:
        OptionError: open_clip knows no such architecture or tag.
        WeightsError: the weights cannot be had, or do not fit.
    """
    name, config = _pretrained(architecture, tag)
    evidence = Evidence(bool(config.get("quick_gelu", False)), f"pretrained tag {tag}")
    quick = decide(architecture, quick_gelu, evidence, unmarked=False)
    path = hub_file(architecture, tag, model)
    return clip_from_state(name, read_checkpoint(path).state, quick_gelu=quick)


def hub_file(architecture: str, tag: str, model: str | None = None) -> Path:
    """The file behind a pretrained tag, downloaded if it must be; as `clip_from_hub`."""
    name, config = _pretrained(architecture, tag)
    what = f"weights {tag} of {name}"
    repository, _, file = str(config.get("hf_hub", "")).rpartition("/")
    if repository:
        return fetch(repository, (file,) if file else CLIP_FILES, what, model)
    try:
        return Path(open_clip.download_pretrained(config))
    except Exception as error:  # an address of its own, not the hub's
        raise missing(what, f"{config.get('url')}: {error}") from error


def clip_from_files(
    architecture: str,
    paths: Sequence[Path],
    *,
    quick_gelu: bool | None = None,
    unmarked: bool = False,
    allow_torchscript: bool = False,
) -> ClipTowers:
    """A model from local files that together hold both towers.

    Args:
        architecture: open_clip's name, with or without `-quickgelu`.
        paths: one file with both towers, or one for each.
        quick_gelu: the activation; None to decide from the files.
        unmarked: QuickGELU (True) or GELU (False) where neither name nor files decide; logged when it is used.
        allow_torchscript: as in `read_checkpoint`.

    Raises:
        OptionError: open_clip knows no such architecture.
        WeightsError: a file is missing, unreadable or of another model, or its activation contradicts `quick_gelu`.
    """
    name = known_architecture(architecture)
    checkpoints = [read_checkpoint(path, allow_torchscript=allow_torchscript) for path in paths]
    state = {name: value for checkpoint in checkpoints for name, value in checkpoint.state.items()}
    with naming_files(*paths):
        marks = [checkpoint.evidence for checkpoint in checkpoints if checkpoint.evidence is not None]
        if len({evidence.quick_gelu for evidence in marks}) > 1:
            raise WeightsError(f"one file has {marks[0].reason}, another {marks[1].reason}: different activations")
        quick = decide(architecture, quick_gelu, marks[0] if marks else None, unmarked)
        return clip_from_state(name, state, quick_gelu=quick)


def clip_from_state(architecture: str, state: State, *, quick_gelu: bool) -> ClipTowers:
    """A model from weights in open_clip's names (`checkpoint.tidy`).

    Raises:
        OptionError: open_clip knows no such architecture.
        WeightsError: weights are missing, unknown, or of another shape.
    """
    name = known_architecture(architecture)
    with SkipInit():
        model = fresh_clip(name, quick_gelu)
    expected = model.state_dict()
    state = convert_state_dict(model, state)
    if isinstance(model, open_clip.CustomTextCLIP):
        state = convert_to_custom_text_state_dict(state)
    # The temperature of training: some files keep it as a vector of one, some not at all, and nothing here reads it.
    scale = state.get("logit_scale", expected["logit_scale"])
    state = {**state, "logit_scale": scale.reshape(expected["logit_scale"].shape)}
    for tower, is_image in (("image", True), ("text", False)):
        names = {key for key in expected if key.startswith("visual.") is is_image and key != "logit_scale"}
        if names.isdisjoint(state):
            raise WeightsError(f"the weights hold no {tower} tower of {name}; give a file for each tower")
    require_tensors(name, state, expected)
    model.load_state_dict(state)
    return ClipTowers(model.eval().requires_grad_(False), name, quick_gelu)


def known_architecture(architecture: str) -> str:
    """open_clip's name without `-quickgelu`. Raises OptionError: open_clip has no such architecture."""
    name = split_architecture(architecture.replace("/", "-"))[0]
    if open_clip.get_model_config(name) is None:
        raise OptionError(f"open_clip knows no architecture {architecture!r}; `ViT-B-16` is one it knows")
    return name


def configuration(architecture: str) -> dict[str, Any]:
    """open_clip's description of an architecture, a copy: `embed_dim`, `vision_cfg`, `text_cfg`."""
    config: dict[str, Any] = open_clip.get_model_config(known_architecture(architecture))
    return config


def fresh_clip(architecture: str, quick_gelu: bool) -> nn.Module:
    """open_clip's model with random weights, in training mode.

    Raises:
        OptionError: open_clip has no such architecture.
        WeightsError: a model of other parts than two towers.
    """
    name, config = known_architecture(architecture), configuration(architecture)
    config["quick_gelu"] = quick_gelu
    custom = config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    if "multimodal_cfg" in config:
        raise WeightsError(f"{name} is a captioning model; expected one with an image and a text tower only")
    for part in ("vision_cfg", "text_cfg"):  # towers are filled from the checkpoint, never one by one from a hub
        config[part].update({key: False for key in config[part] if key.endswith("model_pretrained")})
    model: nn.Module = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    return model


def tokenizer(architecture: str) -> Callable[[list[str]], Tensor]:
    """Strings to token numbers [S, context] of an architecture, one for all models in memory. Raises WeightsError."""
    name = known_architecture(architecture)
    of_open_clip: Callable[[list[str]], Tensor] | None = _tokenizers.get(name)
    if of_open_clip is None:
        try:
            of_open_clip = _tokenizers[name] = open_clip.get_tokenizer(name)
        except (OSError, ImportError) as error:  # of transformers, which reads some of them
            raise missing(f"tokenizer of {name}", str(error).splitlines()[0]) from None
    return of_open_clip


def _pretrained(architecture: str, tag: str) -> tuple[str, dict[str, Any]]:
    """open_clip's name of the architecture and its entry of the tag."""
    name = known_architecture(architecture)
    config = open_clip.get_pretrained_cfg(name, tag) or open_clip.get_pretrained_cfg(architecture, tag)
    if not config:
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise OptionError(f"open_clip has no weights {tag!r} for {name}; it has {', '.join(tags) or 'none'}")
    return name, config
