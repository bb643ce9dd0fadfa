"""A project's labelling configuration: which tag takes masks, of which labels, for which image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast
from xml.etree.ElementTree import Element

from lexiseg_service.adapters.label_studio.tags import root_of
from lexiseg_service.errors import InvalidValue

FIELD = "label_config"
Kind = Literal["brushlabels", "polygonlabels", "rectanglelabels"]
# Tags that take masks or boxes, the best first: of several of a configuration the first kind is answered for.
TAKEN = ("BrushLabels", "PolygonLabels", "RectangleLabels")


@dataclass(frozen=True)
class Control:
    """A tag that is annotated with, and the data field of the image it stands for."""

    name: str  # `from_name` of its results
    to_name: str
    kind: Kind
    image_field: str  # of a task's data
    classes: list[dict[str, Any]]  # of a question
    options: dict[str, Any]  # other fields of it


def control_of(label_config: str) -> Control:
    """The tag to answer for.

    A label may bring words of its own, `predicted_values="car,lorry"`; the tag a `model_score_threshold`, a
    `model_name` and a `model_task`.

    Raises:
        InvalidValue: no XML, too much of it, or none of the tags in it belongs to an image.
    """
    root = root_of(label_config, FIELD)
    images = {tag.get("name"): tag.get("value", "").removeprefix("$") for tag in root.iter("Image")}
    for kind in TAKEN:
        for tag in root.iter(kind):
            if tag.get("toName") in images and tag.get("name"):
                return _control(tag, images[tag.get("toName")])
    expected = f"one of {', '.join(TAKEN)} with `name`, and `toName` of an Image"
    raise InvalidValue.of(FIELD, ", ".join(sorted({tag.tag for tag in root.iter()})), expected)


def _control(tag: Element, image_field: str) -> Control:
    classes = [_class(label) for label in tag.iter("Label")]
    options = {
        "task": tag.get("model_task"),
        "model": tag.get("model_name"),
        "threshold": tag.get("model_score_threshold"),
    }
    kind = cast("Kind", tag.tag.lower())
    return Control(tag.attrib["name"], tag.attrib["toName"], kind, image_field, classes, options)


def _class(label: Element) -> dict[str, Any]:
    words = [word.strip() for word in label.get("predicted_values", "").split(",")]
    name = label.get("value", "")
    return {"name": name, "synonyms": [word for word in words if word and word.casefold() != name.casefold()]}
