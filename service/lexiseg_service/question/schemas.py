"""The JSON of the REST routes as pydantic models; OpenAPI is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from lexiseg_labels.answers import AnswerFields
from lexiseg_labels.errors import UnreadableAnswer
from lexiseg_labels.masks.rle import runs_of
from lexiseg_labels.segments import SegmentFields
from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.catalogue.available import AvailableModel
from lexiseg_model.types import Refinement, Rle, Task
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

    threshold: Probability | None = Field(
        None, description="minimum probability, 0 to 1, at which a class owns a pixel; below it the pixel is background"
    )
    words: list[Text] | None = Field(
        None,
        fail_fast=True,
        description="names of other things in the image, which compete with the classes as background",
    )


class ImageInput(StrictModel):
    """An image in JSON: exactly one of the three fields."""

    base64: str | None = Field(None, description="image file, encoded in base64")
    url: Annotated[str, Field(min_length=1, max_length=2048)] | None = Field(
        None, description="HTTPS URL of the image, on a public host; 403 unless the service has URLs switched on"
    )
    id: str | None = Field(None, description="`image_id` of an earlier answer")


# No BaseModel: a request may have 8,192 points, and pydantic holds the GIL four times as long for models.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class PointInput:
    """A click, in pixels of the image as sent, after EXIF rotation."""

    x: Coordinate = Field(description="distance from the left edge in pixels, 0 to the image's width")
    y: Coordinate = Field(description="distance from the upper edge in pixels, 0 to the image's height")
    positive: StrictBool = Field(True, description="true: the point lies on the object; false: outside it")


class ShownInput(StrictModel):
    """One object, given by points, a box, or both; without a box, at least one point must be positive."""

    points: list[PointInput] = Field(
        default_factory=list, fail_fast=True, description="clicks on the object (positive) and outside it (negative)"
    )
    box: Annotated[list[Coordinate], Field(min_length=4, max_length=4)] | None = Field(
        None, description="box around the object: x0, y0, x1, y1 (left, upper, right, lower edge) in pixels"
    )


class MaskInput(StrictModel):
    """A mask of the image's size, in the format of an answer (`coco_rle`)."""

    format: Literal["coco_rle"] = Field("coco_rle", description="mask format")
    size: tuple[Side, Side] = Field(description="height and width of the mask in pixels")
    counts: Text = Field(description="COCO compressed run lengths, column by column")

    @field_validator("counts")
    @classmethod
    def _is_readable(cls, counts: str, fields: ValidationInfo) -> str:
        """Refuse what no image could make right, before a job is made of it."""
        if "size" in fields.data:
            try:
                runs_of(counts, fields.data["size"])
            except UnreadableAnswer as error:
                raise ValueError(f"run lengths of a mask: {error}") from None
        return counts

    def rle(self) -> Rle:
        """The mask without its area, which the worker reads from the counts."""
        height, width = self.size
        return Rle(self.size, self.counts, 0, (0, 0, width, height))


class PromptInput(ShownInput):
    """One object, given by points and a box; or a mask or segment that points and a box correct.

    Positive points and the box add to the mask, negative points remove from it.
    """

    mask: MaskInput | None = Field(None, description="mask to correct, of the image's size; not supported in streams")
    segment: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        None,
        description="id of the segment to correct, from the semantic answer for the same classes; replaces "
        "`mask`; the segment keeps its label and id",
    )


class RegionInput(ShownInput):
    """An image region, given by points and a box, or by a mask."""

    mask: MaskInput | None = Field(None, description="mask of the region, instead of points and box")


class ExampleInput(RegionInput):
    """An image region that shows a class, given by points and a box, or by a mask."""

    image: ImageInput | None = Field(
        None, description="image that contains the example; null: the image of the request"
    )


class ClassInput(StrictModel):
    """A class with synonyms, a threshold or examples."""

    name: Text = Field(description="name to search for, and the `label` of its segments")
    synonyms: list[Text] = Field(
        default_factory=list,
        fail_fast=True,
        description="other names to search for; their segments carry `name` as label",
    )
    threshold: Probability | None = Field(
        None, description="minimum score, 0 to 1, of this class's segments; lower ones are dropped"
    )
    gloss: Text | None = Field(
        None,
        description="meaning of the name, as `large wading bird`; null: the model may look meanings up, and answers "
        "them in `senses`",
    )
    examples: list[ExampleInput] = Field(
        default_factory=list, fail_fast=True, description="image regions that show the class"
    )
    negatives: list[ExampleInput] = Field(
        default_factory=list,
        fail_fast=True,
        description="image regions that look like the class but are not",
    )
    words: StrictBool | None = Field(
        None,
        description="whether to search for the name and the synonyms as text, besides the examples; null: yes if "
        "there are synonyms or no examples",
    )


class CommonQuestion(StrictModel):
    """Fields common to requests about an image and about a stream."""

    classes: list[Text | ClassInput] | None = Field(
        None,
        description="classes to search for: names, or objects with more detail; exclusive with `vocabulary`; "
        "both may be omitted for the tasks prompt and everything",
        fail_fast=True,
        examples=[["sky", "building", "tree"]],
    )
    vocabulary: str | None = Field(
        None, description="name of a stored class list, instead of `classes`", examples=["ade20k"]
    )
    head: str | None = Field(
        None,
        description="head, as NAME or NAME@VERSION: its classes, learned from pictures, come before those of `classes` "
        "or `vocabulary`, which may be omitted; of a class of the same name, what was learned is taken",
        examples=["mugs"],
    )
    model: str | None = Field(
        None, description="model to use, as NAME or NAME@VERSION; default: the first of `GET /v1/models`"
    )
    background: bool | BackgroundInput | None = Field(
        None,
        description="background rule. true (default with `classes`): pixels that match no class stay unassigned; "
        "false: every pixel gets a class; an object overrides the card's rule; null with "
        "`vocabulary`: the vocabulary's own setting",
    )
    max_side: Annotated[int, Field(ge=32, le=16384)] | None = Field(
        None,
        description="maximum length in pixels of the longer side of the network's input; masks keep the image's size",
    )
    language: Annotated[str, Field(pattern="^[a-z]{2,3}$")] | None = Field(
        None,
        description="language of the class names, as a code of ISO 639; en: they are read as they are; null: guessed "
        "from all of them",
        examples=["es"],
    )


class Question(CommonQuestion):
    """All fields of a request except the image."""

    task: Task | None = Field(
        None,
        description="kind of segmentation; default: prompt if there are prompts, else semantic. everything: all "
        "masks that the model proposes, labelled if there are classes",
    )
    prompts: list[PromptInput] | None = Field(
        None,
        description="objects to cut out, each given by points and a box; masks are labelled if the request has "
        "classes or a vocabulary",
        # Of thousands of wrong points the first one says enough; to find them all takes a second.
        fail_fast=True,
        examples=[[{"points": [{"x": 12, "y": 40, "positive": True}]}]],
    )
    mask: MaskFormat = Field(
        "rle", description="mask format; png: one label map of all segments instead of a mask for each; none: no masks"
    )
    simplify: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        0.0,
        description="maximum deviation of a polygon from the mask's border in pixels, for mask=polygon; 0 keeps "
        "every corner",
    )
    refine: Refinement | None = Field(
        None,
        description="mask refinement: pamr follows colours; lposs follows the similarity of patches and colours; "
        "regions lets the model's proposals vote; null: the card's default. The card lists what a "
        "model supports (`refinements`)",
    )
    confidence: bool = Field(False, description="whether to return an 8-bit PNG of each pixel's confidence")
    overlay: bool = Field(False, description="whether to return a PNG of the image with its segments painted on")
    threshold: Probability | None = Field(
        None,
        description="minimum score of a segment, 0 to 1; lower ones are dropped; null: the threshold of the "
        "model's card",
    )
    doubtful: bool = Field(
        False,
        description="whether to return segments under the threshold, marked `doubtful`, of classes of which nothing "
        "else was found",
    )


class TaskQuestion(Question):
    """A question that always has a task, as commands' have."""

    task: Task = "semantic"

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that were given, as JSON."""
        return self.model_dump(mode="json", exclude_unset=True)


class JsonRequest(Question):
    """The application/json form of POST /segment."""

    image: ImageInput = Field(description="image to segment: a base64 file, a URL, or the id of an image sent before")


class RingOutput(BaseModel):
    """A polygon with holes: pixel corners x, y, x, y, ...; a pixel is inside if its centre is.

    Sides are horizontal or vertical without `simplify`.
    """

    exterior: list[int] = Field(description="outer border, as a flat list x, y, x, y, ... in pixels")
    holes: list[list[int]] = Field(description="borders of the holes, each as a flat list x, y, x, y, ... in pixels")


class PolygonOutput(BaseModel):
    """A mask as polygons, one for each connected part."""

    format: Literal["polygon"] = Field("polygon", description="mask format; discriminates the union")
    rings: list[RingOutput] = Field(description="one exterior with its holes for each connected part of the mask")


class MaskOutput(BaseModel):
    """A mask as COCO RLE, decoded by `pycocotools.mask.decode({"size": size, "counts": counts})`."""

    format: Literal["coco_rle"] = Field("coco_rle", description="mask format; discriminates the union")
    size: tuple[int, int] = Field(description="height and width of the mask in pixels")
    counts: str = Field(description="COCO compressed run lengths, column by column")


@dataclass(frozen=True, kw_only=True)
class SegmentOutput(SegmentFields):
    """One segment: the pixels of a class or of an object, or the mask of a prompt."""

    area: int = Field(description="number of pixels in the mask")
    bbox: tuple[int, int, int, int] = Field(description="bounding box of the mask: x, y, width, height in pixels")
    mask: MaskOutput | PolygonOutput | None = Field(
        description="mask in the format that the request chose; null for mask=png and mask=none"
    )


class LabelMapOutput(BaseModel):
    """A PNG of segment ids."""

    base64: str = Field(description="PNG in base64 whose pixel values are segment ids; 0: no segment")
    bits: Literal[8, 16] = Field(description="bits per pixel; 16 from 256 segments on")


@dataclass(frozen=True, kw_only=True)
class SegmentAnswer(AnswerFields):
    """The answer to POST /segment."""

    id: str = Field(description="request id; also in the header `X-Request-Id` and in the log")
    segments: list[SegmentOutput] = Field(description="segments in the order of their ids, each with one mask")
    label_map: LabelMapOutput | None = Field(None, description="label map of all segments, for mask=png")
    overlay: str | None = Field(
        None, description="PNG in base64 of the image with its segments painted on, if requested"
    )
    confidence: str | None = Field(
        None,
        description="8-bit PNG in base64 of the image's size with each pixel's confidence, 255 = certain, if requested",
    )


class SegmentAnswers(BaseModel):
    """The answers about several images of one POST /segment; with status 200 if all of them were answered."""

    answers: list[SegmentAnswer | Problem] = Field(
        description="answers in the order of the images; in place of a failed one the problem it would get by itself"
    )


class ModelOutput(ModelCard):
    """A model's card, and whether it is loaded."""

    digest: str | None = Field(description="digest of the loaded weights; null until they are loaded")
    loaded: bool = Field(description="whether the weights are in memory")


class ModelList(BaseModel):
    """Every model that a request may name."""

    models: list[ModelOutput] = Field(description="model cards, the default model first")
    features: list[Literal["jobs", "heads", "trainings"]] = Field(
        [], description="optional parts of the service that are on and that this key may use"
    )


class AvailableModels(BaseModel):
    """Every model that this version can serve, with or without its weights on this server."""

    models: list[AvailableModel] = Field(description="models that can be served, the bundled one first")


class Liveness(BaseModel):
    """Whether the process is healthy."""

    status: Literal["alive", "dead"] = Field(description="state of the process; dead: only a restart helps")
    detail: str = Field(description="reason for the status, for people")
    grpc_port: int | None = Field(description="port of gRPC on the same host; null: none")


class Readiness(BaseModel):
    """Whether requests are answered."""

    status: Literal["ready", "not ready"] = Field(description="whether requests are answered")
    detail: str = Field(description="reason for the status, for people")
    degraded: list[str] = Field(description="degraded parts of the service; answers are unaffected")


class FindingOutput(BaseModel):
    """One invalid field of a request."""

    field: str = Field(description="path of the field, such as `classes.0.name`")
    value: bool | int | float | str | None = Field(description="value received, shortened if long")
    expected: str = Field(description="description of the expected value")


class Problem(BaseModel):
    """An error as problem details (RFC 9457)."""

    type: str = Field(description="stable identifier of the kind of problem, for programs")
    title: str = Field(description="short name of the kind of problem, for people")
    status: int = Field(description="HTTP status code")
    detail: str = Field(description="explanation for people: the value received and the value expected")
    request_id: str | None = Field(None, description="request id, as in the service's log")
    errors: list[FindingOutput] | None = Field(None, description="invalid fields, for the type invalid-value")


class StreamInput(CommonQuestion):
    """Settings for all frames of a stream."""

    task: Literal["prompt", "semantic", "instance", "panoptic"] = Field(
        "prompt",
        description="prompt: follow the objects that frames name in `follow`; another task: segment the classes, where "
        "a segment keeps its `track_id` from frame to frame",
    )


class StreamOutput(BaseModel):
    """An open stream."""

    stream: str = Field(description="stream id, for the path of its frames")
    idle_seconds: float = Field(
        description="idle timeout in seconds: without a frame for this long, the stream is closed"
    )


class FollowInput(StrictModel):
    """An object to follow from this frame on."""

    track_id: TrackId = Field(
        description="number of the object, from 1, chosen by the client; a number in use starts again with this prompt"
    )
    prompt: PromptInput = Field(description="prompt that shows the object in this frame")


class FrameImageInput(StrictModel):
    """The image of a frame."""

    base64: str = Field(description="image file of the frame, encoded in base64")


class FrameInput(StrictModel):
    """The next frame of a stream."""

    image: FrameImageInput = Field(description="image of the frame")
    follow: list[FollowInput] = Field(
        default_factory=list, fail_fast=True, description="objects to follow from this frame on"
    )
    unfollow: list[TrackId] = Field(
        default_factory=list, fail_fast=True, description="numbers (`track_id`) of objects to stop following"
    )


@dataclass(frozen=True, kw_only=True)
class FrameOutput(SegmentAnswer):
    """The answer for one frame; `track_id` identifies the object of a segment. Frames are not stored: no `image_id`."""

    lost: list[int] = Field(description="numbers (`track_id`) of followed objects that are not visible in this frame")
    state_reset: bool = Field(
        description="whether the stream moved to another worker or restarted, which may have lost its objects"
    )
