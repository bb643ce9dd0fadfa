"""A C-RADIO as its authors save it and a SigLIP 2 as the hub lays it out, both tiny, with random weights."""

from argparse import Namespace
from functools import cache
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.method import methods
from lexiseg_model.methods.radseg.import_ import Options
from lexiseg_model.methods.radseg.segmenter import RadSegmenter, load
from lexiseg_model.resources.device import Execution
from lexiseg_model.types import InputSize, Precision
from tests.model.methods import pretrained

WIDTH, TEXT_WIDTH, HEADS = 128, 32, 2
WINDOW, STRIDE = 48, 32
HEAD = "_heads.1"  # the second teacher's
BACKBONE = {
    "patch_generator.embedder.weight": (WIDTH, 768),
    "patch_generator.pos_embed": (1, 64, WIDTH),
    "patch_generator.cls_token.token": (4, WIDTH),
}
BLOCK = {"norm1": (WIDTH,), "norm2": (WIDTH,), "attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)} | {
    "mlp.fc1": (200, WIDTH),
    "mlp.fc2": (WIDTH, 200),
}
MLP = {"fc1": (40, WIDTH), "blocks.0.0": (40,), "blocks.0.2": (40, 40), "final.0": (40,), "final.2": (TEXT_WIDTH, 40)}


def official_state(seed: int = 0) -> dict[str, Tensor]:
    """The state dict of a C-RADIO with two blocks."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {f"base_model.{name}": shape for name, shape in BACKBONE.items()}
    for prefix, layers in {"base_model.blocks.0": BLOCK, "base_model.blocks.1": BLOCK, HEAD: MLP}.items():
        for name, shape in layers.items():
            shapes |= {f"{prefix}.{name}.weight": shape, f"{prefix}.{name}.bias": shape[:1]}
    state = {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    state |= {name: 1 + value for name, value in state.items() if value.ndim == 1 and name.endswith("weight")}
    colours = {"norm_mean": (0.48145466, 0.4578275, 0.40821073), "norm_std": (0.26862954, 0.26130258, 0.27577711)}
    return state | {f"input_conditioner.{name}": torch.tensor(own).view(3, 1, 1) for name, own in colours.items()}


def save_radio(path: Path, state: dict[str, Tensor], *teachers: dict[str, str]) -> None:
    """A `.pth.tar`."""
    named = teachers or ({"name": "clip", "type": "open_clip"}, {"name": "siglip2", "type": "siglip2"})
    torch.save({"arch": "vit", "epoch": 1, "state_dict": state, "args": Namespace(teachers=list(named))}, path)


def save_texts(folder: Path, seed: int = 0, width: int = TEXT_WIDTH) -> None:
    """config.json, model.safetensors of both towers, and the tokenizer's files."""
    from transformers import Siglip2Tokenizer, SiglipConfig, SiglipModel

    layers = {"hidden_size": width, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    special = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4}
    vocab = special | {token: 5 + n for n, token in enumerate(["▁", *ascii_lowercase, "re", "▁re"])}
    text = {**layers, "vocab_size": 64, "projection_size": width}
    configuration = SiglipConfig(text_config=text, vision_config={**layers, "image_size": 32})
    pretrained.drawn(SiglipModel, configuration, seed).save_pretrained(folder)
    Siglip2Tokenizer(vocab=vocab, merges=[("r", "e"), ("▁", "re")]).save_pretrained(folder)


@cache
def imported() -> Path:
    """A model directory, kept while the process lives; beside it are `radio.pth.tar` and `texts`."""
    place = Path(_home().name)
    save_radio(place / "radio.pth.tar", official_state())
    save_texts(place / "texts")
    options = Options(checkpoint=place / "radio.pth.tar", texts=place / "texts")
    return importing.import_model(methods()["radseg"], "small", options, place)


@cache
def _home() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


def segmenter(precision: Precision = "exact") -> RadSegmenter:
    """The whole model behind the interface, with windows of a few patches."""
    card = catalogue.read_card(imported())
    changes = {
        "input": InputSize(short_side=64, long_side=160, multiple=16),
        "settings": {**card.settings, "window": WINDOW, "stride": STRIDE},
    }
    return load(imported(), card.model_copy(update=changes), Execution(torch.device("cpu"), precision))
