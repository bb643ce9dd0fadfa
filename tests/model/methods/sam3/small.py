"""A small SAM 3 of the published build with random weights, saved in the layout of the hub."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lexiseg_model import catalogue
from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue.method import methods
from lexiseg_model.catalogue.weights import WEIGHTS, read_weights
from lexiseg_model.device import Execution
from lexiseg_model.methods.sam3.import_ import Options
from lexiseg_model.methods.sam3.network import Sam3Settings
from lexiseg_model.methods.sam3.segmenter import Sam3Segmenter
from lexiseg_model.types import ModelCard, Precision

SIDE = 56  # pixels: four patches of 14
WIDTH = 32
LAYERS = {"hidden_size": WIDTH, "num_attention_heads": 4, "intermediate_size": 48}
WORDS = ["red", "green", "blue", "crimson", "navy", "sea", "wall", "an", "old", "wooden", "rowing", "boat", "cat"]


def config() -> Any:
    from transformers import Sam3Config

    backbone = LAYERS | {
        "model_type": "sam3_vit_model",
        "num_hidden_layers": 2,
        "image_size": SIDE,
        "pretrain_image_size": 28,
        "window_size": 2,
        "global_attn_indexes": [1],
    }
    sizes = [[16, 16], [8, 8], [4, 4]]
    text = LAYERS | {"vocab_size": len(WORDS) + 3, "num_hidden_layers": 2, "max_position_embeddings": 32}
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "projection_dim": WIDTH}
    return Sam3Config(
        vision_config={"backbone_config": backbone, "fpn_hidden_size": WIDTH, "backbone_feature_sizes": sizes},
        text_config={"model_type": "clip_text_model", **text, **special},
        geometry_encoder_config={**LAYERS, "num_layers": 1},
        detr_encoder_config={**LAYERS, "num_layers": 1},
        detr_decoder_config={**LAYERS, "num_layers": 2, "num_queries": 6},
        mask_decoder_config={"hidden_size": WIDTH, "num_attention_heads": 4},
    )


def save(folder: Path) -> None:
    """config.json, model.safetensors, and the processor's files."""
    from transformers import PreTrainedTokenizerFast, Sam3ImageProcessor, Sam3Model, Sam3Processor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Sam3Model(config())
        for parameter in model.parameters():  # large enough that every part shows
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer = Tokenizer(
        models.WordLevel({"<s>": 0, "</s>": 1, "?": 2, **{word: 3 + n for n, word in enumerate(WORDS)}}, unk_token="?")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="?"
    )
    pictures = Sam3ImageProcessor(size={"height": SIDE, "width": SIDE})
    Sam3Processor(pictures, fast).save_pretrained(folder)


def save_video(folder: Path) -> None:
    """The same weights as `facebook/sam3` has them: the detector of a `sam3_video`, beside a tracker."""
    from transformers import Sam3Model, Sam3VideoConfig, Sam3VideoModel

    save(folder)
    detector = config().to_dict()
    tracker = {"vision_config": detector["vision_config"], "image_size": SIDE}
    with torch.random.fork_rng(devices=[]):
        whole = Sam3VideoModel(Sam3VideoConfig(detector_config=detector, tracker_config=tracker))
    whole.detector_model.load_state_dict(Sam3Model.from_pretrained(folder).state_dict())
    whole.save_pretrained(folder)


@cache
def _imported() -> tuple[ModelCard, dict[str, torch.Tensor]]:
    with TemporaryDirectory() as place:
        folder = Path(place) / "hub"
        save(folder)
        made = importing.import_model(methods()["sam3"], "small", Options(checkpoint=folder), Path(place))
        assert load_file(made / WEIGHTS)
        card = catalogue.read_card(made)
        return card, read_weights(made / WEIGHTS, card.weights_sha256)


def segmenter(precision: Precision = "exact", **settings: Any) -> Sam3Segmenter:
    """The whole model behind the interface, imported."""
    card, state = _imported()
    chosen = Sam3Settings.model_validate({**card.settings, **settings})
    return Sam3Segmenter(state, chosen, card, "small", Execution(torch.device("cpu"), precision))
