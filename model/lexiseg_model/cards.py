"""Model cards: what a model is, what it takes, its rules and its measured quality."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from lexiseg_model.types import Precision, Refinement, Task

CommercialUse = Literal["yes", "no", "ask"]


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


class SpeckRule(StrictModel):
    """Specks of an answer, which the class around them gets; their bounds were chosen on validation photographs."""

    island: float = Field(0.1, ge=0, le=1, description="share of its class's largest region below which one is a speck")
    most: float = Field(0.01, ge=0, le=1, description="share of the picture that a speck of a class has at most")
    hole: float = Field(0.1, ge=0, le=1, description="share of the picture that a speck of the background has at most")
    border: float = Field(
        0.8, gt=0.5, le=1, description="share of a speck's border that must be with one class, or with the background"
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
    fine_size: int | None = Field(None, description="numbers of a cell's detail; null: unknown, or there is none")
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
    specks: SpeckRule | None = Field(
        None, description="rule for small islands and holes of pixel tasks; null: every pixel has its best class"
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
