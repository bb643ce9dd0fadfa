"""A SAM 2.1 of the published build and none of its size, with random weights, saved as the hub lays it out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lexiseg_model import catalogue
from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue.method import methods
from lexiseg_model.device import Execution
from lexiseg_model.methods.sam2.import_ import Options
from lexiseg_model.methods.sam2.segmenter import Sam2Segmenter, load
from lexiseg_model.types import Precision

SIDE = 64  # pixels: maps of 16, 8 and 4
WIDTH = 128  # twice that of a memory
MEMORY = {
    "memory_attention_hidden_size": WIDTH,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 48,
    "memory_attention_rope_feat_sizes": [4, 4],
    "memory_encoder_hidden_size": WIDTH,
    "memory_encoder_output_channels": 64,
    "mask_downsampler_embed_dim": WIDTH,
    "memory_fuser_embed_dim": WIDTH,
    "memory_fuser_intermediate_dim": 48,
}
DECODER = {
    "hidden_size": WIDTH,
    "mlp_dim": 48,
    "num_attention_heads": 4,
    "iou_head_hidden_dim": WIDTH,
}


def config() -> Any:
    from transformers import Sam2VideoConfig

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 2, 2, 2],
        "global_attention_blocks": [3],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": WIDTH,
    }
    prompts = {"hidden_size": WIDTH, "image_size": SIDE, "mask_input_channels": 4}
    return Sam2VideoConfig(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=DECODER, image_size=SIDE, **MEMORY
    )


def save(folder: Path, seed: int = 0) -> None:
    """config.json, model.safetensors, and the processor's files."""
    from transformers import Sam2ImageProcessor, Sam2VideoModel, Sam2VideoProcessor, Sam2VideoVideoProcessor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Sam2VideoModel(config())
        for parameter in model.parameters():  # large enough that every part shows
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    pictures = Sam2ImageProcessor(size=size, mask_size={"height": 16, "width": 16})
    pictures.save_pretrained(folder)
    Sam2VideoProcessor(pictures, Sam2VideoVideoProcessor(size=size), target_size=SIDE).save_pretrained(folder)


@cache
def _home() -> TemporaryDirectory[str]:
    return TemporaryDirectory()  # removed when the process ends


@cache
def imported(seed: int = 0) -> Path:
    """A model directory, kept while the process lives; the hub's folder lies beside it."""
    place = Path(_home().name) / str(seed)
    save(place / "hub", seed)
    return importing.import_model(methods()["sam2"], "small", Options(checkpoint=place / "hub"), place)


def segmenter(precision: Precision = "exact", seed: int = 0) -> Sam2Segmenter:
    """The whole model behind the interface, imported."""
    folder = imported(seed)
    return load(folder, catalogue.read_card(folder), Execution(torch.device("cpu"), precision))
