"""The words that everything shares: classes, vocabularies, prompts, segments, cards. Free of torch.

A *class* is a user's entry, a *text* a string that stands for it (its name or a synonym), a *label* the string on a
segment. Coordinates are pixels of the image as sent, after EXIF rotation; `size` is always (height, width).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lexiseg_model.errors import UnknownModelError

MIN_PROBABILITY = 1e-6  # of a score rule, whose log-odds are finite
MAX_LOGIT = 50.0  # of a score rule

Task = Literal["semantic", "instance", "panoptic", "prompt", "everything"]
Refinement = Literal["none", "pamr", "regions"]
Precision = Literal["exact", "fast"]
CommercialUse = Literal["yes", "no", "ask"]
Runtime = Literal["auto", "torch", "onnx", "onnx-int8"]
LabelMap = NDArray[np.unsignedinteger]

MAX_SHOWN_NAME = 80  # characters of an unknown name in an error


@dataclass(frozen=True)
class Shown:
    """What a model made of examples of a class: rows of fp16, one for each region that shows it (`positive`), and for
    each that shows what it is not."""

    positive: tuple[bytes, ...]
    negative: tuple[bytes, ...] = ()
    digest: str = ""  # of the model's weights; "": its own, whatever they are


@dataclass(frozen=True)
class ClassEntry:
    """One class of a request: a name, other names for the same thing, and an optional score to reach.

    `thing` says whether it comes in countable pieces (a car) or not (sky); None where nobody knows. A class that is
    `shown` is found by examples; then it may be `named` or not: whether its texts are looked for, too.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    threshold: float | None = None
    thing: bool | None = None
    shown: Shown | None = None
    named: bool = True

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The name and the synonyms; any of them found answers under the name. None of a class by examples alone."""
        return (self.name, *self.synonyms) if self.named else ()


@dataclass(frozen=True)
class Background:
    """What a pixel that no class explains becomes.

    `words` replace the words of the model's card, `threshold` (0..1) the probability below which a class owns no
    pixel; None keeps the card's.
    """

    words: tuple[str, ...] | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Vocabulary:
    """A class list; `background` is the rule for what it does not name, None where every pixel gets a class."""

    classes: tuple[ClassEntry, ...]
    background: Background | None = field(default_factory=Background)
    name: str | None = None


@dataclass(frozen=True)
class Point:
    """A click: on the object when `positive`, on what is not the object otherwise."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True)
class Prompt:
    """Points, a box (x0, y0, x1, y1), or both, for one object; it may reach beyond a box that is `rough`, a guess.

    At a `glance`: what is known of the whole image is enough, however small the object is.
    """

    points: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None
    rough: bool = False
    glance: bool = False

    @property
    def is_lone_click(self) -> bool:
        """One positive point and nothing else, which may mean a part, an object or more."""
        return self.box is None and len(self.points) == 1 and self.points[0].positive


@dataclass(frozen=True)
class Rle:
    """A mask as COCO compressed run lengths: column-major, what `pycocotools.mask.decode` reads."""

    size: tuple[int, int]
    counts: str
    area: int  # pixels
    bbox: tuple[int, int, int, int]  # x, y, width, height; zeros for an empty mask


@dataclass(frozen=True)
class Region:
    """A part of one image, as an example of a class: what a prompt shows, or else a mask of the image's size."""

    prompt: Prompt | None = None
    mask: Rle | None = None


@dataclass(frozen=True)
class Ring:
    """One connected part of a mask (by sides): an exterior and its holes, flat lists x, y, x, y, ... of pixel corners.

    Exteriors run clockwise on the screen, holes against it. A pixel is inside when its centre is inside the exterior
    and outside every hole.
    """

    exterior: list[int]
    holes: list[list[int]]


@dataclass(frozen=True)
class Segment:
    """One mask with its label. `score` is in 0..1, `area` in pixels, `bbox` is x, y, width, height."""

    id: int
    label: str | None
    class_index: int | None
    score: float
    mask: Rle
    is_thing: bool | None = None
    prompt_index: int | None = None  # of the request's prompts, which it answers
    mask_index: int | None = None  # of the masks for that prompt, best first
    quality: float | None = None  # 0..1, the model's own estimate of the mask's IoU with what was meant

    @property
    def area(self) -> int:
        return self.mask.area

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        return self.mask.bbox


@dataclass(frozen=True)
class Segmentation:
    """The answer for one image: segments, and a label map [H, W] of them (value = segment id, 0 = nobody).

    Only segments of prompts may be `overlapping`. Then the label map shows the best mask of each prompt alone, the
    earlier prompt on top. It is [0, 0] where nobody asked for it. `probability` [H, W], when it was asked
    for, is that of each pixel's winner, nobody included.
    """

    size: tuple[int, int]
    task: Task
    segments: tuple[Segment, ...]
    label_map: LabelMap
    probability: NDArray[np.float32] | None = None
    overlapping: bool = False


@dataclass(frozen=True)
class AnswerWarning:
    """What a client should know of an answer. `type` stays the same, for programs; `field` is of the request."""

    type: str
    detail: str
    field: str | None = None


class InputSize(BaseModel):
    """How an image is brought to the network: sides in pixels, both rounded to `multiple`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    short_side: int = Field(ge=32, description="length that the shorter side is brought to")
    long_side: int = Field(ge=32, description="length that the longer side does not pass")
    multiple: int = Field(ge=1, description="what both sides are multiples of")


class BackgroundRule(BaseModel):
    """Words that answer for what a request does not name, and the calibration of a short request.

    `offset` and `margin` are in the model's own units (logits) and hold for a request of one class. A long list says
    more of what the picture may hold, so they fade with the logarithm of the number of classes, to 0 at `fades_at`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: list[str] = Field(description="that answer for what a request does not name")
    same_meaning: float = Field(gt=0, le=1, description="text likeness from which a word steps aside for a class")
    offset: float = Field(0.0, description="added to the learned score of nobody")
    margin: float = Field(0.0, description="by how much a word must beat a class")
    fades_at: int = Field(20, ge=2, description="classes in a request from which neither applies")
    synonyms: dict[str, list[str]] = Field(
        {}, description="of words, lower case; a word steps aside for a class of such a name, however unlike"
    )

    def relief(self, n_classes: int) -> float:
        """Share of `offset` and `margin` that a request of so many classes gets: 1 for one class, 0 from `fades_at`."""
        return max(0.0, 1 - math.log(n_classes) / math.log(self.fades_at))


class LongLists(BaseModel):
    """How far a class steps back that is hardly there, in a request of many classes.

    Of a class's mean probability over the picture the logarithm is taken. What that lacks to the most present class's,
    but for `lead`, is taken from the class's logits times a strength: beside other classes, not beside nobody. The
    strength is `weight` x ln(classes / `beyond`), at most `most`: 0 for lists of up to `beyond`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    beyond: int = Field(60, ge=1, description="classes of the longest list in which nobody steps back")
    weight: float = Field(0.6, ge=0, description="of the logarithm of a list's length over that")
    lead: float = Field(1.0, ge=0, description="logarithm of presence that a class may lack for nothing")
    most: float = Field(0.6, ge=0, description="strength that no list exceeds")

    def strength(self, n_classes: int) -> float:
        """Of a request of so many classes."""
        return min(self.most, max(0.0, self.weight * math.log(n_classes / self.beyond)))


class ScoreRule(BaseModel):
    """The probability that the class of a segment is there under its mask: a logistic regression of four inputs.

    Fitted once on training photographs and class lists of 1 to 100 words, so that a score means the same whatever else
    a request lists.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    presence: float = Field(description="weight of the logit that the picture as a whole shows the class")
    probability: float = Field(description="weight of the log-odds of the mean probability of the segment's pixels")
    classes: float = Field(description="weight of the natural logarithm of the number of classes in the request")
    area: float = Field(description="weight of the natural logarithm of the segment's share of the picture")
    bias: float = Field(description="added to the weighted sum")
    threshold: float = Field(0.5, ge=0, le=1, description="segments below it are dropped; a request may set another")

    def score(self, presence: float, probability: float, n_classes: int, area: float) -> float:
        """Return the score, 0..1.

        Args:
            presence: logit of the class in the whole picture.
            probability: mean over the pixels of the segment, 0..1.
            n_classes: in the request, at least 1.
            area: share of the picture, above 0 and at most 1.
        """
        clipped = min(max(probability, MIN_PROBABILITY), 1 - MIN_PROBABILITY)
        logit = (
            self.bias
            + self.presence * presence
            + self.probability * math.log(clipped / (1 - clipped))
            + self.classes * math.log(n_classes)
            + self.area * math.log(area)
        )
        return 1 / (1 + math.exp(-min(max(logit, -MAX_LOGIT), MAX_LOGIT)))


class ThingBelief(BaseModel):
    """How likely a connected region is a whole thing of its class, told from what is known of it anyway.

    The logistic function of `bias` and the weighted sum of three logarithms: of the mean probability of the region's
    pixels, of its share of the picture, and of how likely its class is there at all (the logistic function of
    `Segmenter.presence`). Fitted on training photographs (`python -m lexiseg_service.commands.evaluate.things`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: float = Field(description="weight of the logarithm of the mean probability")
    area: float = Field(description="weight of the logarithm of the share of the picture")
    presence: float = Field(description="weight of the logarithm of the presence of the class")
    bias: float = Field(description="what is added")
    least: float = Field(ge=0, le=1, description="belief that a region needs; others are nobody's")


class PanopticRule(BaseModel):
    """How masks become disjoint segments; thresholds as in Mask2Former (Cheng et al., CVPR 2022).

    `regions`: things are connected regions of the semantic answer. `proposals`: the method proposes masks; each takes
    its best class, then they compete for pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["regions", "proposals"] = Field("regions", description="where the masks of things come from")
    score: float = Field(0.5, ge=0, le=1, description="class probability from which a proposal competes")
    overlap: float = Field(0.5, ge=0, le=1, description="share of its mask that a proposal must win to stay")
    things: ThingBelief | None = Field(None, description="which regions of things are believed; null: all of them")


class Quality(BaseModel):
    """Measured on one data set, in percent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    miou: float = Field(description="mean intersection over union of the classes")
    pixel_accuracy: float = Field(description="share of pixels with the right class")
    images: int = Field(description="how many it was measured on")
    int8_loss: float | None = Field(
        None, description="mIoU that the image pass loses in 8-bit numbers; null: it was not measured"
    )


class PromptQuality(BaseModel):
    """Mean IoU of answers to prompts over the objects of one data set, in percent.

    `point`: the best of the answers to the point where an object is deepest; `box`: the answer to its tight box.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    point: float = Field(description="mean IoU of the best answer to the point where an object is deepest")
    box: float = Field(description="mean IoU of the answer to an object's tight box")
    objects: int = Field(description="how many it was measured on")


class ModelCard(BaseModel):
    """What a model is, may be used for, and was measured to do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="what a request calls it, as `model`")
    version: str = Field(description="of the weights; `NAME@VERSION` asks for it alone")
    method: str = Field(description="the code that runs it")
    summary: str = Field(description="what it is, in a sentence")
    tasks: list[Task] = Field(description="what it can be asked for")
    licence: str = Field(description="what the weights may be used for")
    commercial_use: CommercialUse = Field(
        "ask",
        description="whether the weights may be used commercially; ask: their terms are unknown or not ours to read",
    )
    training_data: list[str] = Field(description="what they were trained on, and its terms")
    recipe: str | None = Field(None, description="the file that trains the weights anew; None for imported ones")
    lineage: str = Field("", description="what the weights started from, and how long they were trained")
    commit: str | None = Field(None, description="of the code that trained the weights")
    seed: int | None = Field(None, description="of the training")
    input: InputSize = Field(description="how an image is brought to the network")
    embedding: int = Field(description="dimensions of a pixel's and a text's vector")
    text_tower: str = Field(description="what turns words into vectors")
    background: BackgroundRule = Field(description="how pixels that no class explains are told")
    long_lists: LongLists | None = Field(None, description="null: classes compete alike, however many they are")
    score: ScoreRule | None = Field(
        None, description="how scores are calibrated; null: a score is the mean probability of the segment's pixels"
    )
    panoptic: PanopticRule = Field(PanopticRule(), description="how masks become disjoint segments")
    refine: Refinement = Field("none", description="what a request gets that does not say")
    refinements: list[Refinement] = Field(["none", "pamr"], description="what a request may ask for")
    precision: Precision = Field(
        "fast", description="exact: float32 throughout, as published; fast: as the device likes"
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="of the method, which validates them")
    quality: dict[str, Quality] = Field(default_factory=dict, description="measured by data set, in percent")
    prompt_quality: dict[str, PromptQuality] = Field(
        default_factory=dict, description="of answers to prompts, by data set, in percent"
    )
    limits: list[str] = Field(description="what it is known not to do well")
    weights_sha256: str | None = Field(description="None where the weights come from the hub, by the card's settings")


@dataclass(frozen=True)
class ModelName:
    """What a request calls a model: NAME, or NAME@VERSION for that version alone. `version` None fits every version."""

    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read NAME or NAME@VERSION.

        Raises:
            UnknownModelError: the name or the version is empty, or there are two versions.
        """
        name, at, version = text.partition("@")
        if not name or (at and not version) or "@" in version:
            raise UnknownModelError(f"no model {text[:MAX_SHOWN_NAME]!r}; expected NAME or NAME@VERSION")
        return cls(name, version if at else None)

    @classmethod
    def of(cls, card: ModelCard) -> ModelName:
        """The name of exactly that model."""
        return cls(card.name, card.version)

    def fits(self, card: ModelCard) -> bool:
        """Whether it names the model of a card."""
        return self.name == card.name and self.version in (None, card.version)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"
