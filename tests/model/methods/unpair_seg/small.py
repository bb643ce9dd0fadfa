"""A small network of the published build with random weights."""

from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.timm_model import TimmModel
from torch import Tensor

from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.towers import clip_from_state
from lexiseg_model.features import Features
from lexiseg_model.methods.unpair_seg import compatibility
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk, RegionAdapter
from lexiseg_model.methods.unpair_seg.network import PromptableMasks, State, flat_state, restore
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter, settings_of
from lexiseg_model.methods.unpair_seg.settings import Sizes
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank
from lexiseg_model.types import Precision, Segmentation
from tests.model.clip.small import register_architecture
from tests.once import kept

WIDTH = 32
CHANNELS = (8, 16, 24, 32)
SIZE = (64, 96)  # of the input


def network() -> PromptableMasks:
    torch.manual_seed(0)
    return PromptableMasks(Sizes(CHANNELS, WIDTH, 4, 2, 48, 4, 48)).eval()


def maps(images: int = 1, size: tuple[int, int] = SIZE) -> list[Tensor]:
    """Random maps at strides 4, 8, 16, 32."""
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(images, channels, size[0] // stride, size[1] // stride, generator=generator)
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


@torch.no_grad()
def features(of: PromptableMasks, images: int = 1) -> PixelFeatures:
    return of.features(maps(images))


def trunk() -> ClipTrunk:
    """A ConvNeXt of 40, 80, 160 and 320 channels under CLIP's own head for 24."""
    torch.manual_seed(0)
    return ClipTrunk(TimmModel("convnext_atto", 24, pool="", proj="mlp", drop_path=0.5))


ARCHITECTURE = "lexiseg-small-convnext"


def register() -> None:
    """Makes open_clip know a CLIP of a ConvNeXt with few channels."""
    config = {
        "embed_dim": 24,
        "vision_cfg": {
            "timm_model_name": "test_convnext", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "mlp",
            "timm_drop_path": 0.1, "image_size": 64,
        },
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }  # fmt: skip
    register_architecture(ARCHITECTURE, config)


@kept
def state(*, adapted: bool = False) -> State:
    """A whole model's flat state, random, large enough that every part shows. Shared: never write into it."""
    register()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = open_clip.CLIP(**open_clip.get_model_config(ARCHITECTURE)).state_dict()
        clip = {name: value + 0.1 * torch.randn_like(value) for name, value in clip.items()}
        towers = clip_from_state(ARCHITECTURE, clip, quick_gelu=False)
        trunk = ClipTrunk(towers.visual)
        masks = PromptableMasks(Sizes(trunk.channels, WIDTH, 4, 1, 32, 3, 32))
        adapter = RegionAdapter(trunk.channels, WIDTH, width=32, blocks=1) if adapted else None
        if adapter is not None:
            torch.nn.init.normal_(adapter.output.weight)
    return flat_state(towers.state, masks.state_dict(), None if adapter is None else adapter.state_dict())


# Random weights think little of their masks, and these are ragged.
LENIENT: dict[str, Any] = {
    "architecture": ARCHITECTURE,
    "proposals": {"grid": 3, "quality": 0.0},
    "cleaning": {"stability": 0, "specks": 0},
}


def segmenter(
    precision: Precision = "exact", *, adapted: bool = False, side: int = 128, **settings: Any
) -> UnpairSegSegmenter:
    """The whole model behind the interface."""
    restored = restore(state(adapted=adapted), ARCHITECTURE)
    card = catalogue.read_card(catalogue.bundled()["unpair-seg"])
    card = card.model_copy(
        update={"input": InputSize(short_side=side, long_side=side, multiple=32), "settings": LENIENT | settings}
    )
    return UnpairSegSegmenter(restored, settings_of(card), card, "small", Execution(torch.device("cpu"), precision))


@torch.inference_mode()
def released_masks(model: UnpairSegSegmenter, kept: Features) -> Tensor:
    """Proposals [N, H, W] as the released code hands them out: logits at the size of the image as sent."""
    assert kept.layout is not None
    return compatibility.at_image(model.proposals_on_canvas(kept).masks, kept.layout.tile, kept.size)


@torch.inference_mode()
def published_labels(model: UnpairSegSegmenter, kept: Features, bank: TextBank) -> NDArray[np.intp]:
    """[H, W], the class of each pixel: masks enlarged to the image, then added up as likely as they are of a class."""
    probabilities = model.region_scores(kept, model.propose(kept).embeddings, bank).exp()  # [K, N]
    assert probabilities.shape[1] > 1
    labels: NDArray[np.intp] = (
        torch.einsum("kn,nhw->khw", probabilities, released_masks(model, kept).sigmoid()).argmax(0).numpy()
    )
    return labels


def labels_of(answer: Segmentation) -> NDArray[np.intp]:
    """[H, W], the class of each pixel; -1 of none."""
    index = np.full(int(answer.label_map.max()) + 1, -1)
    for segment in answer.segments:
        index[segment.id] = -1 if segment.class_index is None else segment.class_index
    return index[answer.label_map]
