"""Unpair-Seg network: one pass over an image, then any number of prompts and vocabularies.

Weights are one flat state dict, under the names of the authors' stage-one checkpoint: 358 learned tensors under
`sem_seg_head.` and CLIP under `backbone.clip_model.`. Ours adds `adapter.*` of stage two, which they did not publish.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from lexiseg_model.catalogue.weights import (
    SkipInit,
    for_inference,
    names_in_network,
    naming_files,
    require_prefixes,
    under,
)
from lexiseg_model.clip.checkpoint import read_tensors, require_same_towers
from lexiseg_model.clip.towers import ClipTowers, clip_from_state, configuration
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import MaskDecoder, Prediction
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelDecoder, PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.prompts import PromptEncoder, PromptTokens
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk, RegionAdapter
from lexiseg_model.methods.unpair_seg.regions import Pool
from lexiseg_model.methods.unpair_seg.settings import ARCHITECTURE, PUBLISHED, Sizes, sizes_of

State = dict[str, Tensor]

# Prefixes of the weights' names.
CLIP, MASKS, ADAPTER = "backbone.clip_model.", "sem_seg_head.", "adapter."
# Constants of the preprocessing, which some versions store with the weights.
DERIVED = ("pixel_mean", "pixel_std")


class PromptableMasks(nn.Module):
    """Pixel decoder, prompt encoder and mask decoder over maps at strides 4, 8, 16, 32 of a frozen image tower."""

    def __init__(self, sizes: Sizes = PUBLISHED) -> None:
        """Build decoders; with the published sizes they have 5.79 and 16.19 million parameters."""
        super().__init__()
        self.sizes = sizes
        channels, width, heads, *encoder, decoder_layers, decoder_feed_forward = sizes
        self.pixel_decoder = PixelDecoder(channels, width, heads, *encoder)
        self.predictor = MaskDecoder(PromptEncoder(width), width, heads, decoder_layers, decoder_feed_forward)

    def features(self, maps: Sequence[Tensor]) -> PixelFeatures:
        """Decode image maps [B, channels, h, w] at strides 4, 8, 16, 32."""
        features: PixelFeatures = self.pixel_decoder(maps)
        return features

    def decode(self, features: PixelFeatures, prompt: PromptTokens) -> Prediction:
        """Predict masks for encoded prompts."""
        prediction: Prediction = self.predictor(features, prompt)
        return prediction


class EncodedImages(NamedTuple):
    """Result of the image pass over B images, for any prompt and any vocabulary."""

    features: PixelFeatures  # maps of the pixel decoder
    dense: Tensor  # [B, C, H/32, W/32] of CLIP
    adapted: Tensor | None  # [B, width, H/8, W/8] of stage two's adapter; None without one


class UnpairSegNetwork(nn.Module):
    """Image side of Unpair-Seg: CLIP's trunk, promptable masks, and stage two's adapter if it was trained."""

    def __init__(self, trunk: ClipTrunk, masks: PromptableMasks, adapter: RegionAdapter | None = None) -> None:
        super().__init__()
        self.trunk = trunk
        self.masks = masks
        self.adapter = adapter

    def forward(self, images: Tensor) -> EncodedImages:
        """Encode normalised images [B, 3, H, W] with sides that are multiples of 32."""
        maps = self.trunk(images)
        features = self.masks.features(maps.stages)
        # Stage two trains only the adapter: no gradients for stage one.
        levels = [level.detach() for level in features.levels]
        adapted = None if self.adapter is None else self.adapter(maps.stages, levels)
        return EncodedImages(features, maps.dense, adapted)

    def embed(self, encoded: EncodedImages, masks: Tensor, pool: Pool = regions.pool) -> Tensor:
        """Embed the regions of mask logits [B, Q, h, w] in CLIP's space: [B, Q, D], not normalised."""
        if self.adapter is None or encoded.adapted is None:
            pooled = pool(encoded.dense, masks)
        else:
            pooled = self.adapter.pooled(encoded.adapted, encoded.dense, masks, pool)
        return self.trunk.embed(pooled)


class Restored(NamedTuple):
    """A model in evaluation mode; `network` shares its image tower with `towers`."""

    towers: ClipTowers
    network: UnpairSegNetwork

    @property
    def embedding(self) -> int:
        """Width of CLIP's embedding space."""
        return int(configuration(self.towers.architecture)["embed_dim"])


def flat_state(clip: State, masks: State, adapter: State | None = None) -> State:
    """Join the states of CLIP's towers, of `PromptableMasks` and of stage two's adapter under their prefixes."""
    parts = {CLIP: clip, MASKS: masks, ADAPTER: adapter or {}}
    return {prefix + name: value for prefix, part in parts.items() for name, value in part.items()}


def read_weights(path: Path, clip: State | None = None) -> State:
    """The flat state of a file, float32: the authors' stage one, or an own training of one or two stages. `clip` are
    both towers in open_clip's names; None if the file contains them. `restore` reports missing tensors."""
    saved = read_tensors(path)
    state = {inside: saved[name] for name, inside in names_in_network(saved).items() if inside not in DERIVED}
    with naming_files(path):
        require_prefixes("Unpair-Seg", state, (CLIP, MASKS, ADAPTER))
        inside = under(CLIP, state)
        towers = inside or clip
        if not towers:
            raise WeightsError(
                "these weights come without CLIP; its towers have to be given with them: the authors' are "
                f"open_clip's {ARCHITECTURE}, laion2b_s29b_b131k_ft_soup"
            )
        if inside and clip:
            require_same_towers(inside, clip)
    return {name: value for name, value in state.items() if not name.startswith(CLIP)} | {
        CLIP + name: value.float() for name, value in towers.items()
    }


def restore(state: State, architecture: str = ARCHITECTURE) -> Restored:
    """Build the model of a flat state over a ConvNeXt, with an adapter if there is one; sizes follow from the
    weights."""
    require_prefixes("Unpair-Seg", state, (CLIP, MASKS, ADAPTER))
    towers = clip_from_state(architecture, under(CLIP, state), quick_gelu=False)
    trunk = ClipTrunk(towers.visual)
    masks = restore_masks(state)
    if masks.sizes.channels != trunk.channels:
        expected, channels = list(masks.sizes.channels), list(trunk.channels)
        raise WeightsError(f"stage one was trained over maps of {expected} channels; {architecture} has {channels}")
    of_adapter = {name: value for name, value in state.items() if name.startswith(ADAPTER)}
    adapter = _restore_adapter(of_adapter, masks.sizes) if of_adapter else None
    network = UnpairSegNetwork(trunk, masks, adapter)
    return Restored(towers, network.eval().requires_grad_(False))


def restore_masks(state: State) -> PromptableMasks:
    """Build the learned part of stage one from `sem_seg_head.*`."""
    state = under(MASKS, state)
    with SkipInit():
        masks = PromptableMasks(sizes_of(state))
    return for_inference(masks, "this model", state)


def _restore_adapter(state: State, sizes: Sizes) -> RegionAdapter:
    first = state.get(f"{ADAPTER}inputs.0.weight")
    if first is None:
        raise WeightsError(f"the adapter lacks {ADAPTER}inputs.0.weight, which tells its width")
    blocks = {name.split(".")[1] for name in under(ADAPTER, state) if name.startswith("blocks.")}
    adapter = RegionAdapter(sizes.channels, sizes.width, width=len(first), blocks=len(blocks))
    return for_inference(adapter, "this model", under(ADAPTER, state))
