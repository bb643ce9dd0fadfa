"""The whole model of `dense-clip` over a CLIP of a few thousand weights."""

from typing import Any

import torch

from lexiseg_model.cards import InputSize, ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.dino import DinoTower, plain_kind
from lexiseg_model.methods.dense_clip.segmenter import CorrClipSegmenter, DenseClipSegmenter, Parts, TridentSegmenter
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.trident import Sam
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Precision
from tests.model.clip import small
from tests.model.stand_in import ColourSegmenter
from tests.model.tasks.asking import ALL
from tests.once import kept

SETTINGS = DenseClipSettings(
    architecture=small.ARCHITECTURE, pretrained=None, quick_gelu=False, window=32, stride=16, templates="tcl9"
)


def _card(name: str, settings: DenseClipSettings) -> ModelCard:
    return catalogue.find(name).card.model_copy(
        update={
            "input": InputSize(short_side=48, long_side=160, multiple=small.PATCH),
            "settings": settings.model_dump(mode="json"),
            "embedding": 16,
        }
    )


def segmenter(precision: Precision = "exact") -> DenseClipSegmenter:
    """NACLIP's attention, windows of four by four patches."""
    parts = Parts(small.towers(), None, "small")
    return DenseClipSegmenter(parts, SETTINGS, _card("dense-clip", SETTINGS), Execution(torch.device("cpu"), precision))


@kept
@torch.inference_mode(False)  # cached, and the first caller may be in inference mode
def dino(seed: int = 0) -> DinoTower:
    """Two blocks over patches half as wide as CLIP's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind = plain_kind(patch=small.PATCH // 2, side=small.PRETRAINED_SIDE, width=64, depth=2)
        tower = DinoTower(kind).eval().requires_grad_(False)
        for parameter in tower.parameters():  # large enough that every part shows
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return tower


def corr_segmenter(precision: Precision = "exact", masks_of: Segmenter | None = None) -> CorrClipSegmenter:
    """CorrCLIP over the masks of a stand-in."""
    settings = SETTINGS.model_copy(update={"policy": "corrclip", "proposals": "stand-in"})
    parts = Parts(small.towers(), dino(), "small")
    execution = Execution(torch.device("cpu"), precision)
    return CorrClipSegmenter(
        parts, settings, _card("corrclip-b16", settings), execution, masks_of or ColourSegmenter(tasks=ALL)
    )


@kept
@torch.inference_mode(False)
def sam_model(seed: int = 0) -> Any:
    """A `transformers.SamModel` of pictures of 64 pixels: 8 x 8 patches, three blocks, the last over all."""
    from transformers import SamConfig, SamModel

    vision = {
        "hidden_size": 16, "output_channels": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64,
        "patch_size": 8, "mlp_dim": 24, "window_size": 4, "global_attn_indexes": [2], "num_pos_feats": 16,
    }  # fmt: skip
    prompts = {"hidden_size": 32, "image_size": 64, "patch_size": 8, "mask_input_channels": 4}
    decoder = {"hidden_size": 32, "mlp_dim": 24, "num_attention_heads": 4, "iou_head_hidden_dim": 32}
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SamModel._from_config(config, attn_implementation="eager")
        for parameter in model.parameters():  # large enough that every part shows
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def trident_segmenter(precision: Precision = "exact", seed: int = 0, **changes: Any) -> TridentSegmenter:
    """Trident over towers of a few thousand weights; `changes` of its settings."""
    settings = SETTINGS.model_copy(update={"policy": "trident", **changes})
    parts = Parts(small.towers(seed=seed), dino(seed), "small", Sam(sam_model(seed)))
    execution = Execution(torch.device("cpu"), precision)
    return TridentSegmenter(parts, settings, _card("trident-b16", settings), execution)
