"""The JSON of the REST routes as pydantic models; OpenAPI is generated from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic.dataclasses import dataclass

from lexiseg_model.available import AvailableModel
from lexiseg_model.types import ModelCard, Refinement, Rle, StrictModel, Task
from lexiseg_service.question.messages import MaskFormat

Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
# Whole numbers go into protobuf's 32 bits, and into numpy.
Side = Annotated[int, Field(ge=1, lt=2**31)]
TrackId = Annotated[int, Field(ge=1, lt=2**53, strict=True)]  # as exact as JSON's numbers are to a browser


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_refuse_bool)]


class BackgroundInput(StrictModel):
    """Overrides of the model card's background rule."""

    threshold: Probability | None = Field(None, description="probability below which a class owns no pixel")
    words: list[Text] | None = Field(None, fail_fast=True, description="what else may be in the picture")


class ImageInput(StrictModel):
    """An image inside JSON: exactly one of the three."""

    base64: str | None = Field(None, description="the encoded file")
    url: Annotated[str, Field(min_length=1, max_length=2048)] | None = Field(
        None, description="https, public hosts only; 403 unless the service has it switched on"
    )
    id: str | None = Field(None, description="`image_id` of an earlier answer")


# No BaseModel: a request may have 8,192 points, and pydantic holds the GIL four times as long for models.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class PointInput:
    """A click, in pixels of the image as sent, after EXIF rotation."""

    x: Coordinate = Field(description="from the left edge, 0 to the image's width")
    y: Coordinate = Field(description="from the upper edge, 0 to the image's height")
    positive: StrictBool = Field(True, description="on the object, or on what is not the object")


class ShownInput(StrictModel):
    """One object, shown by points, by a box, or by both; without a box, at least one point is positive."""

    points: list[PointInput] = Field(
        default_factory=list, fail_fast=True, description="clicks on the object and next to it"
    )
    box: Annotated[list[Coordinate], Field(min_length=4, max_length=4)] | None = Field(
        None, description="x0, y0, x1, y1: the left, upper, right and lower edge in pixels"
    )


class MaskInput(StrictModel):
    """A mask of the image's size, as an answer gives it (`coco_rle`)."""

    format: Literal["coco_rle"] = Field("coco_rle", description="of the mask")
    size: tuple[Side, Side] = Field(description="height, width")
    counts: Text = Field(description="COCO's compressed run lengths, column by column")

    def rle(self) -> Rle:
        """The mask without its area, which the worker reads from the counts."""
        height, width = self.size
        return Rle(self.size, self.counts, 0, (0, 0, width, height))


class PromptInput(ShownInput):
    """One object, shown by points and a box; or a mask or segment that they correct.

    Positive points and the box add to it, negative points remove from it.
    """

    mask: MaskInput | None = Field(None, description="a mask that is corrected, of the image's size; not in a video")
    segment: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        None,
        description="instead of a mask: the id of a segment in the semantic answer to the same classes; it keeps its "
        "label and id",
    )


class ExampleInput(ShownInput):
    """A part of an image that shows a class: what a box or points show, or a mask."""

    image: ImageInput | None = Field(None, description="another image; null: the one that the request is about")
    mask: MaskInput | None = Field(None, description="instead of a box and points")


class ClassInput(StrictModel):
    """A class with more than a name."""

    name: Text = Field(description="what to look for, and the `label` of its segments")
    synonyms: list[Text] = Field(default_factory=list, fail_fast=True, description="found ones answer under `name`")
    threshold: Probability | None = Field(None, description="segments of this class with a lower score are dropped")
    examples: list[ExampleInput] = Field(
        default_factory=list, fail_fast=True, description="parts of images that show it"
    )
    negatives: list[ExampleInput] = Field(
        default_factory=list,
        fail_fast=True,
        description="parts of images that show what it is not, though it looks alike",
    )
    words: StrictBool | None = Field(
        None,
        description="whether the name and the synonyms are looked for as words, too; null: they are where there are no "
        "examples, or where there are synonyms",
    )


class Asked(StrictModel):
    """What a question about an image and one about a stream have in common."""

    classes: list[Text | ClassInput] | None = Field(
        None,
        description="what to look for: names, or objects that say more; or `vocabulary`; for prompts and everything "
        "also neither",
        fail_fast=True,
        examples=[["sky", "building", "tree"]],
    )
    vocabulary: str | None = Field(None, description="a named class list instead of `classes`", examples=["ade20k"])
    model: str | None = Field(None, description="NAME or NAME@VERSION; default: the first of `GET /v1/models`")
    background: bool | BackgroundInput | None = Field(
        None,
        description="true (default with `classes`): pixels that no class explains stay empty; false: every pixel gets "
        "a class; a named vocabulary has a default of its own",
    )
    max_side: Annotated[int, Field(ge=32, le=16384)] | None = Field(
        None, description="caps the longer side of the network's input; masks keep the image's size"
    )


class Question(Asked):
    """Everything of a request but the image."""

    task: Task | None = Field(
        None,
        description="default: prompt when there are prompts, else semantic; everything: all masks that the model "
        "proposes, named where there are classes",
    )
    prompts: list[PromptInput] | None = Field(
        None,
        description="objects that points and boxes show; with classes or a vocabulary each mask is labelled, "
        "with neither it has no label",
        # Of thousands of wrong points the first one says enough; to find them all takes a second.
        fail_fast=True,
        examples=[[{"points": [{"x": 12, "y": 40, "positive": True}]}]],
    )
    mask: MaskFormat = Field("rle", description="png answers one label map instead of a mask for each segment")
    simplify: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        0.0, description="of mask=polygon: how far in pixels a border may stray; 0 keeps every corner"
    )
    refine: Refinement | None = Field(
        None,
        description="pamr follows colours, lposs likeness of patches and colours, regions let the model's proposals "
        "vote; null: the card's default. What a model offers stands on its card (`refinements`)",
    )
    confidence: bool = Field(False, description="also answer an 8-bit PNG of each pixel's confidence")
    overlay: bool = Field(False, description="also answer a PNG of the image with its segments painted on")
    threshold: Probability | None = Field(
        None, description="segments with a lower score are dropped; null: the threshold of the model's card"
    )


class JsonRequest(Question):
    """The application/json form of POST /segment."""

    image: ImageInput = Field(description="the file in base64, its URL, or the id of one sent before")


class RingOutput(BaseModel):
    """Corners of pixels x, y, x, y, ...; a pixel is inside when its centre is. With `simplify` sides may be slanted."""

    exterior: list[int] = Field(description="the outer border")
    holes: list[list[int]] = Field(description="borders of what is left out of it")


class PolygonOutput(BaseModel):
    """One ring for each connected part."""

    format: Literal["polygon"] = Field("polygon", description="of the mask; tells the forms apart")
    rings: list[RingOutput] = Field(description="one for each connected part")


class MaskOutput(BaseModel):
    """`pycocotools.mask.decode({"size": size, "counts": counts})` gives the mask."""

    format: Literal["coco_rle"] = Field("coco_rle", description="of the mask; tells the forms apart")
    size: tuple[int, int] = Field(description="height, width")
    counts: str = Field(description="COCO's compressed run lengths, column by column")


class SegmentOutput(BaseModel):
    """A class's pixels, an object's, or what a prompt shows."""

    id: int = Field(description="its value in the label map, from 1")
    label: str | None = Field(description="the class's name; null for a prompt without classes")
    class_index: int | None = Field(description="position of its class in the request or the vocabulary")
    score: float = Field(description="probability of the label; without one, the mask's quality")
    area: int = Field(description="pixels")
    bbox: tuple[int, int, int, int] = Field(description="x, y, width, height")
    prompt_index: int | None = Field(None, description="position of its prompt in the request")
    mask_index: int | None = Field(None, description="which of the masks that the prompt may mean, best first")
    quality: float | None = Field(None, description="the model's own estimate of the mask's overlap (IoU), 0 to 1")
    is_thing: bool | None = Field(None, description="whether it is countable; null: unknown")
    track_id: int | None = Field(None, description="the same for an object from frame to frame; null for a photograph")
    mask: MaskOutput | PolygonOutput | None = Field(description="as `mask` asked; null with png and none")


class TimingsOutput(BaseModel):
    """Milliseconds."""

    decode: float = Field(description="from bytes to pixels")
    queue: float = Field(description="waiting for the device")
    text: float = Field(description="the classes' embeddings")
    image: float = Field(description="the image pass of the batch that the request was part of")
    post: float = Field(description="from scores to masks")
    total: float = Field(description="all of it, as the worker measures")


class CacheOutput(BaseModel):
    """What came from caches."""

    text_hits: int = Field(
        description="texts whose embedding was kept; with API keys, those that the same key has asked for before"
    )
    text_misses: int = Field(
        description="texts whose embedding was computed; with API keys, those that are new to the key"
    )
    features: bool = Field(description="whether the image's features were kept, so that no image pass was needed")


class LabelMapOutput(BaseModel):
    """A PNG whose values are segment ids."""

    base64: str = Field(description="the PNG; 0 is no segment")
    bits: Literal[8, 16] = Field(description="of a pixel; 16 from 256 segments on")


class WarningOutput(BaseModel):
    """A warning about an answer."""

    type: str = Field(description="the kind of warning; stays the same, so that programs can tell them apart")
    detail: str = Field(description="in words, for people")
    field: str | None = Field(description="of the request, as `classes.0`")


class SegmentAnswer(BaseModel):
    """The answer to POST /segment."""

    id: str = Field(description="of the request; also in the header `X-Request-Id` and in the log")
    image_id: str = Field(description="asks again about the same image without sending it, as `image.id`")
    model: str = Field(description="the name of the model that answered")
    model_digest: str = Field(description="of its weights")
    task: str = Field(description="what was done: semantic, instance, panoptic, prompt or everything")
    size: tuple[int, int] = Field(description="height, width of the image as sent, after EXIF rotation")
    segments: list[SegmentOutput] = Field(description="what was found, one mask each")
    label_map: LabelMapOutput | None = Field(None, description="with mask=png")
    overlay: str | None = Field(None, description="base64 PNG")
    confidence: str | None = Field(None, description="base64 8-bit PNG of the image's size, 255 = certain")
    absent: list[str] = Field(
        default_factory=list, description="labels that were asked for and that no segment has; of prompts none"
    )
    warnings: list[WarningOutput] = Field(
        default_factory=list,
        description="`unfamiliar-word`: far from all that the model was trained on; `unsplit-words`: a "
        "comma in one class; `stuff-as-instances`: what cannot be counted asked as instances; "
        "`guessed-depth`: a deep picture that does not say which values are black and white",
    )
    timings_ms: TimingsOutput = Field(description="how long each stage took")
    cache: CacheOutput = Field(description="what did not have to be computed again")


class ModelOutput(ModelCard):
    """A model's card, and whether it is loaded."""

    digest: str | None = Field(description="of the loaded weights; null until they are")
    loaded: bool = Field(description="whether its weights are in memory")


class ModelList(BaseModel):
    """Every model that a request may name."""

    models: list[ModelOutput] = Field(description="the default first")


class AvailableModels(BaseModel):
    """Every model that this version can serve, whether its weights are here or not."""

    models: list[AvailableModel] = Field(description="the bundled one first")


class Liveness(BaseModel):
    """Whether the process is healthy."""

    status: Literal["alive", "dead"] = Field(description="dead: only a restart helps")
    detail: str = Field(description="why, for people")


class Readiness(BaseModel):
    """Whether requests are answered."""

    status: Literal["ready", "not ready"] = Field(description="ready: requests are answered")
    detail: str = Field(description="why, for people")
    degraded: list[str] = Field(description="what is degraded, without a change in the answers")


class FindingOutput(BaseModel):
    """One wrong field of a request."""

    field: str = Field(description="its path, as `classes.0.name`")
    value: bool | int | float | str | None = Field(description="what came; what is long is cut")
    expected: str = Field(description="what would have been right")


class Problem(BaseModel):
    """RFC 9457."""

    type: str = Field(description="the kind of problem; stays the same, so that programs can tell them apart")
    title: str = Field(description="the kind in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what came, and what was expected")
    request_id: str | None = Field(None, description="finds the request in the log")
    errors: list[FindingOutput] | None = Field(None, description="each wrong field, of invalid-value")


class StreamInput(Asked):
    """What holds for every frame of a stream that follows objects."""


class StreamOutput(BaseModel):
    """A stream that is open."""

    stream: str = Field(description="its id, of the path of its frames")
    idle_seconds: float = Field(description="without a frame for so long it is ended")


class FollowInput(StrictModel):
    """An object that begins in this frame."""

    track_id: TrackId = Field(description="its number from now on; one that is followed already begins anew")
    prompt: PromptInput = Field(description="what shows it in this frame")


class FrameImageInput(StrictModel):
    """The picture of a frame."""

    base64: str = Field(description="the encoded file")


class FrameInput(StrictModel):
    """The next frame of a stream."""

    image: FrameImageInput = Field(description="the encoded picture")
    follow: list[FollowInput] = Field(
        default_factory=list, fail_fast=True, description="objects to be followed from this frame on"
    )
    unfollow: list[TrackId] = Field(
        default_factory=list, fail_fast=True, description="numbers of objects to be followed no more"
    )


class FrameOutput(SegmentAnswer):
    """The answer about one frame: `track_id` tells which object a segment is. Frames are not kept: no `image_id`."""

    lost: list[int] = Field(description="objects that are followed and not seen in this frame")
    state_reset: bool = Field(description="the stream moved or began anew: its objects may have been forgotten")
