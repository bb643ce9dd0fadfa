"""A TIPSv2 of the published build and none of its size, with random weights, saved as the hub lays it out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import ascii_lowercase, punctuation
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lexiseg_model import catalogue
from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue.method import methods
from lexiseg_model.clip.patch_text import PatchTextSegmenter
from lexiseg_model.device import Execution
from lexiseg_model.methods.tipsv2.import_ import Options
from lexiseg_model.methods.tipsv2.segmenter import load
from lexiseg_model.types import InputSize, Precision

SIDE = 56  # pixels: four patches of 14
WIDTH = 16


def config() -> Any:
    from transformers import Tipsv2Config

    layers = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Tipsv2Config(
        vision_config={**layers, "image_size": SIDE, "mlp_ratio": 2},
        text_config={**layers, "intermediate_size": 48, "vocab_size": 320},
    )


def save(folder: Path, seed: int = 0) -> None:
    """config.json, model.safetensors, and the processor's files."""
    from transformers import Tipsv2ImageProcessor, Tipsv2Model, Tipsv2Processor, Tipsv2Tokenizer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Tipsv2Model(config())
        for parameter in model.parameters():  # large enough that every part shows
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    vocab = {token: n for n, token in enumerate(["<pad>", "<unk>", "▁", *ascii_lowercase, *punctuation, "re", "▁re"])}
    tokenizer = Tipsv2Tokenizer(vocab=vocab, merges=[("r", "e"), ("▁", "re")])
    pictures = Tipsv2ImageProcessor(size={"height": SIDE, "width": SIDE})
    Tipsv2Processor(pictures, tokenizer).save_pretrained(folder)


@cache
def imported() -> Path:
    """A model directory, kept while the process lives."""
    place = Path(_home().name)
    save(place / "hub")
    return importing.import_model(methods()["tipsv2"], "small", Options(checkpoint=place / "hub"), place)


@cache
def _home() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


def segmenter(precision: Precision = "exact", window: int = SIDE) -> PatchTextSegmenter:
    """The whole model behind the interface, with windows of a few patches."""
    card = catalogue.read_card(imported())
    changes = {
        "input": InputSize(short_side=window, long_side=160, multiple=14),
        "settings": {**card.settings, "window": window, "stride": window // 2},
    }
    return load(imported(), card.model_copy(update=changes), Execution(torch.device("cpu"), precision))
