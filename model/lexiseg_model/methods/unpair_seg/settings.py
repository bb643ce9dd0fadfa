"""Settings of Unpair-Seg: input layout, proposals, naming, and whether to repeat the quirks of the released code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import Field, model_validator
from torch import Tensor

from lexiseg_model.cards import StrictModel
from lexiseg_model.clip.by_example import ExampleLevels
from lexiseg_model.errors import WeightsError
from lexiseg_model.masks.nms import OVERLAPS, OverlapRule

LEVELS = 3  # maps at strides 32, 16 and 8
POINTS = 4  # places that a head of deformable attention samples on each level
NUMBERS_OF_A_HEAD = LEVELS * POINTS * 2  # sampling offsets: (x, y) of each point
GROUPS = 32  # of the norms; the width is a multiple
ENCODER, DECODER = "pixel_decoder.transformer.encoder.layers.", "predictor.transformer_ffn_layers."
ARCHITECTURE = "convnext_large_d_320"  # of the authors: weights laion2b_s29b_b131k_ft_soup, with GELU
# Whether quirks of the released code are repeated; see `compatibility`.
Compatibility = Literal["none", "released"]
Padding = Literal["square", "multiple"]  # of the network's input, right of and below the image


class Sizes(NamedTuple):
    """Sizes of `network.PromptableMasks`; the defaults are the published model's."""

    channels: tuple[int, ...] = (192, 384, 768, 1536)  # of CLIP's maps at strides 4, 8, 16, 32
    width: int = 256
    heads: int = 8
    encoder_layers: int = 6
    encoder_feed_forward: int = 1024
    decoder_layers: int = 9
    decoder_feed_forward: int = 2048


PUBLISHED = Sizes()


def sizes_of(state: Mapping[str, Tensor]) -> Sizes:
    """Sizes of `PromptableMasks` from its state dict; all other shapes follow from these."""

    def shape(name: str, axes: int) -> tuple[int, ...]:
        tensor = state.get(name)
        if tensor is None:
            raise WeightsError(f"not the weights of this model: missing {name}")
        if tensor.ndim != axes:
            raise WeightsError(f"{name} is {list(tensor.shape)}; expected {axes} axes")
        return tuple(tensor.shape)

    def depth(layers: str) -> int:
        return len({name.removeprefix(layers).partition(".")[0] for name in state if name.startswith(layers)})

    width, fine = shape("pixel_decoder.adapter_1.weight", 4)[:2]
    coarse = [shape(f"pixel_decoder.input_proj.{index}.0.weight", 4)[1] for index in (2, 1, 0)]
    heads = shape(f"{ENCODER}0.self_attn.sampling_offsets.bias", 1)[0] // NUMBERS_OF_A_HEAD
    if width % GROUPS or not heads or width % heads:
        raise WeightsError(f"a width of {width} with {heads} heads; expected one that divides by {GROUPS} and by these")
    encoder_feed_forward, decoder_feed_forward = (
        shape(f"{layers}0.linear1.bias", 1)[0] for layers in (ENCODER, DECODER)
    )
    return Sizes(
        (fine, *coarse), width, heads, depth(ENCODER), encoder_feed_forward, depth(DECODER), decoder_feed_forward
    )


class ProposalSettings(StrictModel):
    """Stage one's inference, as released: 20 x 20 points with four masks each."""

    grid: int = Field(20, ge=1, le=64, description="points along each side of the image")
    points_per_pass: int = Field(100, ge=1, description="points that go through the mask decoder together")
    # The released code keeps 0.65 of a sigmoid taken twice: the same masks.
    quality: float = Field(
        0.619,
        ge=0,
        le=1,
        description="predicted quality from which a mask is kept; without effect with compatibility: released",
    )
    rule: OverlapRule = OVERLAPS


PROPOSALS = ProposalSettings()


class CleaningSettings(StrictModel):
    """Cleaning of proposals; 0 switches a step off."""

    stability: float = Field(
        0.92, ge=0, le=1, description="a proposal goes whose area depends more than that on the threshold"
    )
    specks: int = Field(
        64,
        ge=0,
        description="pixels of the network's input, 16 a cell; smaller holes are filled, smaller parts dropped",
    )


class UnpairSegSettings(StrictModel):
    """`settings` of a card of method unpair_seg."""

    architecture: str = Field(ARCHITECTURE, description="open_clip's name of the CLIP, a ConvNeXt")
    adapter: bool = Field(False, description="regions are named by an adapter, stage two; otherwise by CLIP's average")
    compatibility: Compatibility = Field("none", description="released: the released code, quirks and all")
    padding: Padding = Field(
        "square", description="square: as released; multiple: the shorter side to a multiple of 32 only, cheaper"
    )
    proposals: ProposalSettings = PROPOSALS
    cleaning: CleaningSettings = CleaningSettings()
    templates: str = Field("vild14", description="template set of the text side; a class answers by its best text")
    logit_scale: float | None = Field(
        None, gt=0, le=100, description="factor of cosines; None: CLIP's own, at most 100"
    )
    covered: float = Field(
        0.5, ge=0, le=1, description="sum of mask probabilities below which a pixel is background, whatever its class"
    )
    probability: float = Field(
        0.3,
        ge=0,
        le=1,
        description="probability of a class among all that compete, below which a pixel or region is background",
    )

    examples: ExampleLevels = ExampleLevels()

    @model_validator(mode="after")
    def _released_is_square(self) -> UnpairSegSettings:
        if self.compatibility == "released" and self.padding != "square":
            raise ValueError(
                f"compatibility: released goes with padding: square alone, got padding: {self.padding}; "
                "the released code knows no other canvas"
            )
        return self
