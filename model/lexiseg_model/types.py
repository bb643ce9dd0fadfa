"""Shared types: classes, vocabularies, prompts, segments, model cards. Does not import torch.

A *class* is an entry of a user's list, a *text* its name or a synonym, a *label* the string on a segment. Coordinates
are pixels of the image as sent, after EXIF rotation; x runs right, y down. `size` is always (height, width), a box
(x0, y0, x1, y1), a `bbox` (x, y, width, height).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from lexiseg_labels.segments import SegmentFields
from lexiseg_model.errors import UnknownModelError

DEFAULT_SMOOTHING = 0.8  # share of the past in the average over the frames of a video

Task = Literal["semantic", "instance", "panoptic", "prompt", "everything"]
Refinement = Literal["none", "pamr", "lposs", "regions"]
Precision = Literal["exact", "fast"]
CommercialUse = Literal["yes", "no", "ask"]
Runtime = Literal["auto", "torch", "onnx", "onnx-int8", "openvino", "tensorrt", "torch-compile"]
DinoName = Literal[
    "dino", "dino_vitb16", "dino_vitb8", "dino_vits8", "dinov2_vitl14_reg", "dinov2_vitb14_reg", "dinov2_vits14_reg"
]
LabelMap = NDArray[np.unsignedinteger]

MAX_SHOWN_NAME = 80  # characters of an unknown name in an error


@dataclass(frozen=True)
class Shown:
    """Encoded examples of a class: one fp16 row for each positive and negative region.

    `digest` identifies the weights that encoded them; "": the requested model's.
    """

    positive: tuple[bytes, ...]
    negative: tuple[bytes, ...] = ()
    digest: str = ""


@dataclass(frozen=True)
class Learned:
    """A class learned from reviewed pictures: what a head gives it for its question.

    Attributes:
        direction: float32 [F], little-endian; its product with the teaching features is added to the class's logit.
            Empty: the class has the score of its words, and no taught class takes the pixels that these give to it.
        text: factor in 0..1 of the logit by its words.
        digest: of the model that it was learned for.
    """

    direction: bytes
    text: float
    digest: str


@dataclass(frozen=True)
class ClassEntry:
    """One class of a request.

    Attributes:
        name: the label of its segments.
        synonyms: other texts for the same class.
        threshold: the score in 0..1 that its segments must reach; None: that of the request.
        thing: whether it is countable (a car) or not (sky); None: unknown.
        shown: its examples, if it has any.
        learned: what a head has learned of it, if it is one of a head's classes; `is_taught`: that is more than words.
        named: whether its texts are used; False: only its examples.
        read_as: English texts in place of a name and synonyms of another language.
        also: what an English name means in other languages: pairs of a language's code and the English of the meaning.
        tried: names of the languages of which its texts, which are not English, could not be read.
        senses: glosses of its meanings; each is asked as a further text, behind the name.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    threshold: float | None = None
    thing: bool | None = None
    shown: Shown | None = None
    learned: Learned | None = field(default=None, kw_only=True)
    named: bool = True
    read_as: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)
    tried: tuple[str, ...] = field(default=(), kw_only=True)
    senses: tuple[str, ...] = ()

    @property
    def is_taught(self) -> bool:
        """Whether pictures taught it."""
        return self.learned is not None and bool(self.learned.direction)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name and the synonyms, or their English; empty for a class with examples only."""
        return self.read_as or (self.name, *self.synonyms) if self.named else ()

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The names, then the first of them with each gloss; empty for a class with examples only."""
        return (*self.names, *(f"{self.names[0]}: {gloss}" for gloss in self.senses if self.names))


@dataclass(frozen=True)
class Background:
    """The background rule of a request: pixels that no class wins are background.

    `words` compete with the classes, `threshold` (0..1) is the probability that a class needs; None: the card's.
    """

    words: tuple[str, ...] | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Vocabulary:
    """A class list and its background rule; without a rule (None) every pixel gets one of the classes."""

    classes: tuple[ClassEntry, ...]
    background: Background | None = field(default_factory=Background)
    name: str | None = None


@dataclass(frozen=True)
class Point:
    """A click at (x, y): on the object when `positive`, else outside it."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True)
class Rle:
    """A mask as COCO compressed RLE: column-major, as `pycocotools.mask.decode` reads it."""

    size: tuple[int, int]
    counts: str
    area: int  # pixels
    bbox: tuple[int, int, int, int]  # x, y, width, height; zeros for an empty mask


@dataclass(frozen=True)
class Prompt:
    """Points, a box (x0, y0, x1, y1), or both, for one object; or a correction of a mask or a segment.

    The object may extend beyond a `rough` box. With `single_pass`, small objects are not encoded again enlarged.
    `mask` has the image's size; `segment` is the id of a segment in the semantic answer for the same classes.
    """

    points: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None
    rough: bool = False
    single_pass: bool = False
    mask: Rle | None = None
    segment: int | None = None

    @property
    def corrects(self) -> bool:
        """Whether points and box correct an existing mask."""
        return self.mask is not None or self.segment is not None

    @property
    def positives(self) -> tuple[Point, ...]:
        """The points on the object."""
        return tuple(point for point in self.points if point.positive)

    @property
    def negatives(self) -> tuple[Point, ...]:
        """The points off the object."""
        return tuple(point for point in self.points if not point.positive)

    @property
    def is_lone_click(self) -> bool:
        """Whether it is a single positive point, which may mean a part, an object, or a group."""
        return self.box is None and not self.corrects and len(self.points) == 1 and self.points[0].positive


@dataclass(frozen=True)
class Region:
    """An example region of one image: either a prompt, or a mask of the image's size."""

    prompt: Prompt | None = None
    mask: Rle | None = None


@dataclass(frozen=True)
class Ring:
    """One 4-connected part of a mask as a polygon: exterior and holes, flat lists x, y, x, y, ... of pixel corners.

    Exteriors run clockwise on the screen, holes counter-clockwise. A pixel is inside when its centre is inside the
    exterior and outside every hole.
    """

    exterior: list[int]
    holes: list[list[int]]


@dataclass(frozen=True)
class Segment(SegmentFields):
    """One mask of the image's size with its label, and as polygons, where these are asked for."""

    mask: Rle
    rings: tuple[Ring, ...] = field(default=(), kw_only=True)

    @property
    def area(self) -> int:
        return self.mask.area

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        return self.mask.bbox


@dataclass(frozen=True)
class Segmentation:
    """The answer for one image.

    Attributes:
        size: (H, W) of the image.
        task: the requested task.
        segments: in the order of their ids.
        label_map: [H, W] of segment ids, 0 = background; [0, 0] if not requested. Of overlapping segments it shows the
            best mask of each prompt, the earlier prompt on top.
        probability: [H, W] in 0..1 of each pixel's winner, the background included, if requested.
        overlapping: whether segments share pixels; only possible in the tasks prompt and everything.
    """

    size: tuple[int, int]
    task: Task
    segments: tuple[Segment, ...]
    label_map: LabelMap
    probability: NDArray[np.float32] | None = None
    overlapping: bool = False


class StrictModel(BaseModel):
    """A pydantic model that cannot be changed, and takes no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSize(StrictModel):
    """Limits for resizing an image for the network, in pixels."""

    short_side: int = Field(ge=32, description="target length of the shorter side in pixels")
    long_side: int = Field(ge=32, description="maximum length of the longer side in pixels")
    multiple: int = Field(ge=1, description="common divisor of both sides in pixels")


class BackgroundRule(StrictModel):
    """Background words, and the calibration of short requests.

    `offset` and `margin` are logits for a request of one class. A longer list covers more of the image, so they fade
    with the logarithm of the number of classes, to 0 at `fades_at`.
    """

    words: list[str] = Field(description="background words, which compete with the requested classes for pixels")
    same_meaning: float = Field(
        gt=0, le=1, description="cosine similarity to a class, up to 1, from which a background word is dropped"
    )
    offset: float = Field(0.0, description="logit added to the learned background score, for a request of one class")
    margin: float = Field(
        0.0,
        description="logit by which a background word must exceed a class to win a pixel, for a request of one class",
    )
    gives_way: float = Field(
        0.0,
        ge=0,
        description="logit by which the background falls where the best class is stuff, such as sky, that is more "
        "likely than not to be in the image",
    )
    fades_at: int = Field(20, ge=2, description="number of classes in a request from which offset and margin are 0")
    synonyms: dict[str, list[str]] = Field(
        {}, description="lower-case synonyms or kinds of background words; a word is dropped if a class has such a name"
    )


class ScoreRule(StrictModel):
    """The probability that the class of a segment is there under its mask: a logistic regression of four inputs.

    Fitted on training photographs and lists of 1 to 100 classes, so that scores are comparable between requests.
    """

    presence: float = Field(description="weight of the logit that the class is present in the whole image")
    probability: float = Field(description="weight of the log-odds of the mean probability of the segment's pixels")
    classes: float = Field(description="weight of the natural logarithm of the number of classes in the request")
    area: float = Field(description="weight of the natural logarithm of the segment's share of the image")
    bias: float = Field(description="constant added to the weighted sum")
    threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="minimum score of a segment, 0 to 1; lower ones are dropped; a request may override it",
    )


class ThingBelief(StrictModel):
    """Weights of the probability that a connected region is a whole thing of its class.

    Inputs are three logarithms: of the mean probability of the region's pixels, of its share of the image, and of the
    probability that its class is present (sigmoid of `Segmenter.presence`). Fitted on training photographs.
    """

    probability: float = Field(description="weight of the logarithm of the region's mean probability")
    area: float = Field(description="weight of the logarithm of the region's share of the image")
    presence: float = Field(
        description="weight of the logarithm of the probability that the class is present in the image"
    )
    bias: float = Field(description="constant added to the weighted sum")
    least: float = Field(
        ge=0, le=1, description="minimum probability of a region, 0 to 1; lower ones become background"
    )


class PanopticRule(StrictModel):
    """Thresholds that turn masks into disjoint segments, as in Mask2Former (Cheng et al., CVPR 2022).

    `regions`: things are connected regions of the semantic answer. `proposals`: the method proposes masks; each takes
    its best class, then they compete for pixels.
    """

    source: Literal["regions", "proposals"] = Field(
        "regions",
        description="source of the masks of things: regions of the semantic answer, or the method's proposals",
    )
    score: float = Field(0.5, ge=0, le=1, description="minimum class probability, 0 to 1, at which a proposal competes")
    overlap: float = Field(
        0.5, ge=0, le=1, description="minimum share of its mask, 0 to 1, that a proposal must win to be kept"
    )
    things: ThingBelief | None = Field(
        None, description="model that decides which regions of things are kept; null: all are kept"
    )


class Quality(StrictModel):
    """Quality measured on one data set, in percent."""

    miou: float = Field(
        description="mean intersection over union of the classes, in percent, by a floating-point image pass"
    )
    pixel_accuracy: float = Field(description="share of pixels with the correct class, in percent")
    images: int = Field(description="number of images measured")
    int8_loss: float | None = Field(
        None, description="loss of mIoU by the 8-bit image pass, in percentage points; null: not measured"
    )


class PromptQuality(StrictModel):
    """Mean IoU of answers to prompts over the objects of one data set, in percent.

    `point`: the best of the answers to the point where an object is deepest; `box`: the answer to its tight box.
    """

    point: float = Field(
        description="mean IoU in percent of the best mask for a click at the deepest point of an object"
    )
    box: float = Field(description="mean IoU in percent of the mask for the tight box of an object")
    objects: int = Field(description="number of objects measured")


class ModelCard(StrictModel):
    """Description of a model: method, licence, input, settings and measured quality."""

    name: str = Field(description="name of the model, for `model` in a request")
    version: str = Field(description="version of the weights; `model=NAME@VERSION` selects exactly this one")
    method: str = Field(description="name of the segmentation method that runs the weights")
    summary: str = Field(description="one-sentence description")
    tasks: list[Task] = Field(description="supported tasks")
    licence: str = Field(description="licence of the weights")
    commercial_use: CommercialUse = Field(
        "ask",
        description="whether the weights may be used commercially; ask: check the terms of the weights",
    )
    training_data: list[str] = Field(description="data sets that the weights were trained on, with their terms")
    recipe: str | None = Field(None, description="recipe that trains the weights; null for imported weights")
    lineage: str = Field("", description="initial weights, and length of the training")
    commit: str | None = Field(None, description="commit of the code that trained the weights; null: unknown")
    seed: int | None = Field(None, description="random seed of the training; null: unknown")
    input: InputSize = Field(description="limits for resizing an image to the network's input, in pixels")
    embedding: int = Field(description="dimensions of the pixel and text embeddings")
    teaching_size: int | None = Field(
        None, description="numbers of a cell that classes are taught by; null: unknown, or it cannot be taught"
    )
    text_tower: str = Field(description="text encoder of class names")
    phrases: bool = Field(
        False, description="whether a class may be a phrase with attributes and places, as 'red car left of the bus'"
    )
    background: BackgroundRule = Field(description="rule for pixels that no class wins")
    # Promised under /v1, so it stays; no model has had the rule since 0.3.0. openapi-generator knows no `type: null`.
    long_lists: Annotated[None, WithJsonSchema({"anyOf": [{"type": "null"}]})] = Field(
        None, description="always null", json_schema_extra={"deprecated": True}
    )
    score: ScoreRule | None = Field(
        None, description="calibration of scores; null: a score is the mean probability of the segment's pixels"
    )
    panoptic: PanopticRule = Field(PanopticRule(), description="rule that turns masks into disjoint segments")
    refine: Refinement = Field("none", description="default refinement of a request")
    refinements: list[Refinement] = Field(["none", "pamr", "lposs"], description="supported refinements")
    precision: Precision = Field(
        "fast", description="exact: float32 throughout, as published; fast: the device's fastest number type"
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of the method, validated by it")
    quality: dict[str, Quality] = Field(default_factory=dict, description="measured quality in percent, by data set")
    prompt_quality: dict[str, PromptQuality] = Field(
        default_factory=dict, description="measured quality of prompts in percent, by data set"
    )
    limits: list[str] = Field(description="known weaknesses")
    weights_sha256: str | None = Field(
        description="SHA-256 of the weights file; null: the settings name weights on the Hugging Face Hub"
    )

    @property
    def has_words(self) -> bool:
        """Whether it segments text classes; other models take prompts only."""
        return not {"prompt", "everything"}.issuperset(self.tasks)


@dataclass(frozen=True)
class ModelName:
    """A model name in a request: NAME (`version` None, matches every version) or NAME@VERSION."""

    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Parse NAME or NAME@VERSION.

        Raises:
            UnknownModelError: the name or the version is empty, or there are two versions.
        """
        name, at, version = text.partition("@")
        if not name or (at and not version) or "@" in version:
            raise UnknownModelError(f"no model {text[:MAX_SHOWN_NAME]!r}; expected NAME or NAME@VERSION")
        return cls(name, version if at else None)

    @classmethod
    def from_card(cls, card: ModelCard) -> ModelName:
        """The name and version of a card."""
        return cls(card.name, card.version)

    def fits(self, card: ModelCard) -> bool:
        """Whether the name matches a card."""
        return self.name == card.name and self.version in (None, card.version)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"
