"""The JSON that goes in and out of the REST routes, as pydantic models; OpenAPI is made from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from lexiseg_model.types import ModelCard

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """An unknown field is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassInput(Strict):
    """A class with more than a name."""

    name: Text
    synonyms: list[Text] = Field(default_factory=list, description="found ones answer under `name`")
    threshold: Probability | None = Field(None, description="segments of this class with a lower score are dropped")


class BackgroundInput(Strict):
    """Overrides of the model card's background rule."""

    threshold: Probability | None = Field(None, description="probability below which a class owns no pixel")
    words: list[Text] | None = Field(None, description="what else may be in the picture")


class ImageInput(Strict):
    """An image inside JSON: exactly one of the three."""

    base64: str | None = Field(None, description="the encoded file")
    url: Annotated[str, Field(min_length=1, max_length=2048)] | None = Field(
        None, description="https, public hosts only; 403 unless the service has it switched on"
    )
    id: str | None = Field(None, description="`image_id` of an earlier answer")


class PointInput(Strict):
    """A click, in pixels of the image as sent, after EXIF rotation."""

    x: Coordinate = Field(description="from the left edge, 0 to the image's width")
    y: Coordinate = Field(description="from the upper edge, 0 to the image's height")
    positive: StrictBool = Field(True, description="on the object, or on what is not the object")


class PromptInput(Strict):
    """One object, shown by points, by a box, or by both; without a box, at least one point is positive."""

    points: list[PointInput] = Field(default_factory=list, fail_fast=True)
    box: Annotated[list[Coordinate], Field(min_length=4, max_length=4)] | None = Field(
        None, description="x0, y0, x1, y1: the left, upper, right and lower edge in pixels"
    )


class Question(Strict):
    """Everything of a request but the image."""

    classes: list[Text | ClassInput] | None = Field(
        None,
        description="what to look for: names, or objects that say more; or `vocabulary`; for prompts also neither",
        examples=[["sky", "building", "tree"]],
    )
    vocabulary: str | None = Field(None, description="a named class list instead of `classes`", examples=["ade20k"])
    task: Literal["semantic", "instance", "panoptic", "prompt"] | None = Field(
        None, description="default: prompt when there are prompts, else semantic"
    )
    prompts: list[PromptInput] | None = Field(
        None,
        description="objects that points and boxes show; with classes or a vocabulary each mask is labelled, "
        "with neither it has no label",
        # Of thousands of wrong points the first one says enough; to find them all takes a second.
        fail_fast=True,
        examples=[[{"points": [{"x": 12, "y": 40, "positive": True}]}]],
    )
    model: str | None = None
    mask: Literal["rle", "polygon", "png", "none"] = Field(
        "rle", description="png answers one label map instead of a mask for each segment"
    )
    refine: Literal["none", "pamr"] | None = Field(None, description="pamr follows colours; null: the card's default")
    confidence: bool = Field(False, description="also answer an 8-bit PNG of each pixel's confidence")
    overlay: bool = Field(False, description="also answer a PNG of the image with its segments painted on")
    background: bool | BackgroundInput | None = Field(
        None,
        description="true (default with `classes`): what no class explains belongs to nobody; false: every pixel gets "
        "a class; a named vocabulary has a default of its own",
    )
    threshold: Probability = Field(0.0, description="segments with a lower score are dropped")
    max_side: Annotated[int, Field(ge=32, le=16384)] | None = Field(
        None, description="caps the longer side of the network's input; masks keep the image's size"
    )


class JsonRequest(Question):
    """The application/json form of POST /segment."""

    image: ImageInput


class RingOutput(BaseModel):
    """Corners of pixels x, y, x, y, ...; a pixel is inside when its centre is."""

    exterior: list[int]
    holes: list[list[int]]


class PolygonOutput(BaseModel):
    """One ring for each connected part."""

    format: Literal["polygon"] = "polygon"
    rings: list[RingOutput]


class MaskOutput(BaseModel):
    """`pycocotools.mask.decode({"size": size, "counts": counts})` gives the mask."""

    format: Literal["coco_rle"] = "coco_rle"
    size: tuple[int, int]
    counts: str


class SegmentOutput(BaseModel):
    """A class's pixels, an object's, or what a prompt shows."""

    id: int
    label: str | None
    class_index: int | None
    score: float = Field(description="probability of the label; without one, the mask's quality")
    area: int
    bbox: tuple[int, int, int, int] = Field(description="x, y, width, height")
    prompt_index: int | None = Field(None, description="position of its prompt in the request")
    mask_index: int | None = Field(None, description="which of the masks that the prompt may mean, best first")
    quality: float | None = Field(None, description="the model's own estimate of the mask's overlap (IoU), 0 to 1")
    is_thing: bool | None = Field(None, description="whether it comes in countable pieces; null: not said")
    track_id: int | None = None
    mask: MaskOutput | PolygonOutput | None


class TimingsOutput(BaseModel):
    """Milliseconds."""

    decode: float
    queue: float
    text: float
    image: float
    post: float
    total: float


class CacheOutput(BaseModel):
    """What did not have to be computed again."""

    text_hits: int
    text_misses: int
    features: bool


class LabelMapOutput(BaseModel):
    """A PNG whose values are segment ids."""

    base64: str
    bits: Literal[8, 16]


class SegmentAnswer(BaseModel):
    """The answer to POST /segment."""

    id: str
    image_id: str
    model: str
    model_digest: str
    task: str
    size: tuple[int, int] = Field(description="height, width")
    segments: list[SegmentOutput]
    label_map: LabelMapOutput | None = None
    overlay: str | None = Field(None, description="base64 PNG")
    confidence: str | None = Field(None, description="base64 8-bit PNG of the image's size, 255 = certain")
    timings_ms: TimingsOutput
    cache: CacheOutput


class ModelOutput(ModelCard):
    """A model's card, and what is loaded of it."""

    digest: str | None = Field(description="of the loaded weights; null until they are")
    loaded: bool


class ModelList(BaseModel):
    """Every model that a request may name."""

    models: list[ModelOutput]


class Liveness(BaseModel):
    """`detail` is for people."""

    status: Literal["alive", "dead"]
    detail: str


class Readiness(BaseModel):
    """`detail` is for people."""

    status: Literal["ready", "not ready"]
    detail: str
    degraded: list[str] = Field(description="what works less well than it should, without a change in the answers")


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None = None
    errors: list[dict[str, object]] | None = None
