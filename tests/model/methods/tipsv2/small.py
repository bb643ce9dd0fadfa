"""A TIPSv2 of the published build and none of its size, with random weights, saved as the hub lays it out."""

from pathlib import Path
from string import ascii_lowercase, punctuation
from typing import Any

from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.patch_text import PatchTextSegmenter
from lexiseg_model.types import Precision
from tests.model.methods import pretrained

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
    from transformers import Tipsv2ImageProcessor, Tipsv2Model, Tipsv2Processor

    pretrained.drawn(Tipsv2Model, config(), seed).save_pretrained(folder)
    pictures = Tipsv2ImageProcessor(size={"height": SIDE, "width": SIDE})
    Tipsv2Processor(pictures, tokenizer()).save_pretrained(folder)


def tokenizer() -> Any:
    from transformers import Tipsv2Tokenizer

    vocab = {token: n for n, token in enumerate(["<pad>", "<unk>", "▁", *ascii_lowercase, *punctuation, "re", "▁re"])}
    return Tipsv2Tokenizer(vocab=vocab, merges=[("r", "e"), ("▁", "re")])


def imported() -> Path:
    """A model directory; the hub's folder lies beside it."""
    return pretrained.imported("tipsv2", save)


def segmenter(precision: Precision = "exact", window: int = SIDE, own_values: bool = True) -> PatchTextSegmenter:
    """The whole model behind the interface, with windows of a few patches."""
    card = catalogue.read_card(imported())
    changes = {
        "input": InputSize(short_side=window, long_side=160, multiple=14),
        "settings": {**card.settings, "window": window, "stride": window // 2, "own_values": own_values},
    }
    whole = catalogue.load_folder(imported(), "cpu", precision, card.model_copy(update=changes))
    assert isinstance(whole, PatchTextSegmenter)
    return whole
