"""A SAM 2.1 of the published build and none of its size, with random weights, saved as the hub lays it out."""

from pathlib import Path
from typing import Any

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Precision
from tests.model.methods import pretrained

SIDE = 64  # pixels: maps of 16, 8 and 4
WIDTH = 128  # twice that of a memory
MEMORY = {
    "memory_attention_hidden_size": WIDTH, "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 48, "memory_attention_rope_feat_sizes": [4, 4],
    "memory_encoder_hidden_size": WIDTH, "memory_encoder_output_channels": 64, "mask_downsampler_embed_dim": WIDTH,
    "memory_fuser_embed_dim": WIDTH, "memory_fuser_intermediate_dim": 48,
}  # fmt: skip
DECODER = {"hidden_size": WIDTH, "mlp_dim": 48, "num_attention_heads": 4, "iou_head_hidden_dim": WIDTH}


def config() -> Any:
    from transformers import Sam2VideoConfig

    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [4, 2, 2, 2],
        "global_attention_blocks": [3],
    }  # fmt: skip
    vision = {
        "model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": WIDTH,
    }  # fmt: skip
    prompts = {"hidden_size": WIDTH, "image_size": SIDE, "mask_input_channels": 4}
    return Sam2VideoConfig(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=DECODER, image_size=SIDE, **MEMORY
    )


def edge_config() -> Any:
    """An EdgeTAM of the same width."""
    from transformers import EdgeTamVideoConfig, EdgeTamVisionConfig, TimmWrapperConfig

    arguments = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    backbone = TimmWrapperConfig(architecture="repvit_m0_9", model_args=arguments, do_pooling=False)
    vision = EdgeTamVisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[384, 192, 96, 48],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=WIDTH,
    )
    memory = {name.replace("feed_forward", "mlp"): value for name, value in MEMORY.items()}
    latents = {"perceiver_resampler_num_latents": 4, "perceiver_resampler_num_latents_2d": 4}
    return EdgeTamVideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": SIDE, "mask_input_channels": 4},
        mask_decoder_config=DECODER,
        image_size=SIDE,
        memory_attention_rope_k_sizes=[2, 2],
        **memory,
        **latents,
    )


def save(folder: Path, seed: int = 0, edge: bool = False, noise: float = 0.1) -> None:
    """config.json, model.safetensors, and the processor's files."""
    from transformers import (
        EdgeTamVideoModel,
        Sam2ImageProcessor,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    kind, made = (EdgeTamVideoModel, edge_config()) if edge else (Sam2VideoModel, config())
    pretrained.drawn(kind, made, seed, noise).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    pictures = Sam2ImageProcessor(size=size, mask_size={"height": 16, "width": 16})
    pictures.save_pretrained(folder)
    Sam2VideoProcessor(pictures, Sam2VideoVideoProcessor(size=size), target_size=SIDE).save_pretrained(folder)


def imported(seed: int = 0) -> Path:
    """A model directory; the hub's folder lies beside it."""
    return pretrained.imported("sam2", save, seed)


def segmenter(precision: Precision = "exact", seed: int = 0) -> Segmenter:
    """The whole model behind the interface, imported."""
    return catalogue.load_folder(imported(seed), "cpu", precision)
