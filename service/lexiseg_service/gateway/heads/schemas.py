"""The JSON of the /heads routes, as pydantic models; OpenAPI is made from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from lexiseg_labels.answers import AnswerWarning
from lexiseg_model.cards import StrictModel
from lexiseg_service.question.schemas import ImageInput, RegionInput, Text

EXAMPLE: dict[str, JsonValue] = {
    "name": "mugs",
    "classes": ["mug", {"name": "saucer", "synonyms": ["small plate"]}],
    "pictures": [
        {
            "key": "desk-1",
            "image": {"id": "b5bb9d8014a0f9b1d61e21e796d78dcc"},
            "objects": [{"class": "mug", "box": [40, 30, 120, 140]}],
        }
    ],
}
MIN_KEEP_DAYS, MAX_KEEP_DAYS = 1, 3650
Key = Annotated[str, Field(min_length=1, max_length=256)]


class TaughtClassInput(StrictModel):
    """A class to teach, with synonyms."""

    name: Text = Field(description="name to search for, and the `label` of its segments")
    synonyms: list[Text] = Field(default_factory=list, fail_fast=True, description="other names to search for")


class ObjectInput(RegionInput):
    """A labelled region of a reviewed picture, given by a mask, or by points and a box, from which a mask is made."""

    model_config = ConfigDict(json_schema_extra={"required": ["class"]})

    label: Text | None = Field(
        alias="class", description="class of the region, one of `classes`; null: unknown, its pixels teach nothing"
    )


class PictureInput(StrictModel):
    """A reviewed picture: every object of the reviewed classes is labelled; pixels of none show something else."""

    key: Key | None = Field(None, description="name of the picture in the head; default: the id of its image")
    image: ImageInput = Field(description="image: a base64 file, a URL, or the id of an image sent before")
    objects: list[ObjectInput] = Field(
        default_factory=list, fail_fast=True, description="labelled regions; later ones lie above earlier ones"
    )
    reviewed: list[Text] | None = Field(
        None,
        fail_fast=True,
        description="classes that were looked for; other classes learn nothing from the picture; default: all",
    )


class HeadInput(StrictModel):
    """Classes and reviewed pictures of a new head, or changes of one."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    name: str | None = Field(
        None, description="name of the head: at most 64 characters of a-z, 0-9 and -; in a PUT, that of the path"
    )
    model: str | None = Field(
        None, description="model that is taught, as NAME or NAME@VERSION; default: that of the head, or the first one"
    )
    classes: list[Text | TaughtClassInput] | None = Field(
        None, fail_fast=True, description="classes of a new head, in the order of `class_index`, or further ones"
    )
    pictures: list[PictureInput] = Field(
        default_factory=list, fail_fast=True, description="reviewed pictures; each replaces that of the same `key`"
    )
    remove: list[Key] = Field(default_factory=list, fail_fast=True, description="keys of pictures to take out")
    keep_days: float | None = Field(
        None,
        ge=MIN_KEEP_DAYS,
        le=MAX_KEEP_DAYS,
        description="days after its last change from which the head is removed; default: as before, of a new one never",
    )


class TaughtClassOutput(BaseModel):
    """A class of a head, and what it has learned."""

    name: str = Field(description="name to search for, and the `label` of its segments")
    synonyms: list[str] = Field(description="other names to search for")
    pictures: int = Field(description="number of reviewed pictures that show it; 0: it is found by its words alone")
    iou_words: float | None = Field(
        description="IoU of pixels in percent by words, on its reviewed pictures; null: too few of them"
    )
    iou_taught: float | None = Field(
        description="likewise, of each picture as taught by the ones unlike it; null: too few of them"
    )
    iou_range: list[float] | None = Field(
        description="range for `iou_taught` of less than five pictures: [low, high], as taught by the unlike ones, "
        "and by all"
    )
    wants: int = Field(
        description="number of further pictures, until ten more bring less than 1 % by its learning curve"
    )
    kept: Literal["words"] | None = Field(
        description="words: it is found by them alone, until pictures that were left out are found better as taught"
    )


class HeadSummary(BaseModel):
    """A head, and what its classes have learned."""

    name: str = Field(description="name, for `head` in a request")
    version: str = Field(description="digest of the content; `NAME@VERSION` in a request takes no other version")
    model: str = Field(description="model that was taught, as NAME@VERSION")
    pictures: int = Field(description="number of reviewed pictures")
    image_passes: int = Field(
        description="image passes that a picture takes with it: 1, or 5 where pictures that were left out are found "
        "better in detail"
    )
    expires: str | None = Field(description="time from which it is removed, unless it is changed; null: it stays")
    classes: list[TaughtClassOutput] = Field(description="classes in the order of `class_index`")


class HeadOutput(HeadSummary):
    """A head with its pictures."""

    keys: list[str] = Field(description="keys of the reviewed pictures, in the order in which they came")
    warnings: list[AnswerWarning] = Field(
        description="warnings by `type`. `few-pictures`: these classes should have more of them; `left-out`: what "
        "of the archive taught nothing"
    )


class NextInput(StrictModel):
    """Pictures that could be labelled next; in a form, those of the archive."""

    images: list[ImageInput] = Field(
        default_factory=list, fail_fast=True, description="images, of at most 500 pictures"
    )


class NextOutput(BaseModel):
    """Pictures in the order in which labelling them helps a head."""

    keys: list[str] = Field(description="ids of images, or names in the archive, the most helpful one first")
    entropy: list[float] = Field(description="mean entropy of each one's pixels in bits, 0 where the head is certain")


class HeadList(BaseModel):
    """The heads of a client."""

    heads: list[HeadSummary] = Field(description="heads of this API key, by name")
