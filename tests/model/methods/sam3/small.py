"""A small SAM 3 of the published build with random weights, saved in the layout of the hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.methods.sam3.segmenter import Sam3Segmenter
from lexiseg_model.types import Precision
from tests.model.methods import pretrained
from tests.model.methods.sam2.small import DECODER, MEMORY  # of the same width

SIDE = 56  # pixels: four patches of 14
WIDTH = 128  # twice that of a memory
LAYERS = {"hidden_size": WIDTH, "num_attention_heads": 4, "intermediate_size": 48}
WORDS = ["red", "green", "blue", "crimson", "navy", "sea", "wall", "an", "old", "wooden", "rowing", "boat", "cat"]


def config(words: Sequence[str] = WORDS) -> Any:
    from transformers import Sam3Config

    backbone = LAYERS | {
        "model_type": "sam3_vit_model", "num_hidden_layers": 2, "image_size": SIDE, "pretrain_image_size": 28,
        "window_size": 2, "global_attn_indexes": [1],
    }  # fmt: skip
    sizes = [[16, 16], [8, 8], [4, 4]]
    text = LAYERS | {"vocab_size": len(words) + 3, "num_hidden_layers": 2, "max_position_embeddings": 32}
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "projection_dim": WIDTH}
    return Sam3Config(
        vision_config={"backbone_config": backbone, "fpn_hidden_size": WIDTH, "backbone_feature_sizes": sizes},
        text_config={"model_type": "clip_text_model", **text, **special},
        geometry_encoder_config={**LAYERS, "num_layers": 1},
        detr_encoder_config={**LAYERS, "num_layers": 1},
        detr_decoder_config={**LAYERS, "num_layers": 2, "num_queries": 6},
        mask_decoder_config={"hidden_size": WIDTH, "num_attention_heads": 4},
    )


def tracker_config() -> dict[str, Any]:
    return {
        "vision_config": config().to_dict()["vision_config"],
        "prompt_encoder_config": {"hidden_size": WIDTH, "image_size": SIDE, "mask_input_channels": 4},
        "mask_decoder_config": DECODER,
        "image_size": SIDE,
        **MEMORY,
    }


def light_config() -> Any:
    """The same, with a light text tower."""
    from transformers import Sam3LiteTextConfig

    whole = config().to_dict()
    for name, part in whole.items():
        if isinstance(part, dict) and name != "vision_config":
            part.pop("model_type", None)
    text = {name: whole["text_config"][name] for name in (*LAYERS, "vocab_size", "max_position_embeddings")}
    del whole["model_type"]
    return Sam3LiteTextConfig(**whole | {"text_config": text | {"num_hidden_layers": 4, "projection_dim": WIDTH}})


def save(folder: Path, seed: int = 0, light: bool = False, words: Sequence[str] = WORDS) -> None:
    """config.json, model.safetensors, and the processor's files."""
    from transformers import PreTrainedTokenizerFast, Sam3ImageProcessor, Sam3LiteTextModel, Sam3Model, Sam3Processor

    kind, made = (Sam3LiteTextModel, light_config()) if light else (Sam3Model, config(words))
    pretrained.drawn(kind, made, seed).save_pretrained(folder)
    tokenizer = Tokenizer(
        models.WordLevel({"<s>": 0, "</s>": 1, "?": 2, **{word: 3 + n for n, word in enumerate(words)}}, unk_token="?")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="?"
    )
    pictures = Sam3ImageProcessor(size={"height": SIDE, "width": SIDE})
    Sam3Processor(pictures, fast).save_pretrained(folder)


def save_video(folder: Path, seed: int = 0) -> None:
    """The same weights as `facebook/sam3` has them: the detector of a `sam3_video`, beside a tracker."""
    from transformers import Sam3Model, Sam3VideoConfig, Sam3VideoModel

    save(folder, seed)
    both = Sam3VideoConfig(detector_config=config().to_dict(), tracker_config=tracker_config())
    whole = pretrained.drawn(Sam3VideoModel, both, seed)
    whole.detector_model.load_state_dict(Sam3Model.from_pretrained(folder).state_dict())
    whole.save_pretrained(folder)


def imported(seed: int = 0) -> Path:
    """A model directory with a tracker; the hub's folder lies beside it."""
    return pretrained.imported("sam3", save_video, seed)


def segmenter(precision: Precision = "exact", seed: int = 0) -> Sam3Segmenter:
    """The whole model behind the interface, imported."""
    whole = catalogue.load_folder(imported(seed), "cpu", precision)
    assert isinstance(whole, Sam3Segmenter)
    return whole
