"""cvat-sdk runs the function as its driver would: it checks the spec, shapes are CVAT's, masks are read back."""

import json
import logging
import sys
from dataclasses import dataclass
from logging.handlers import BufferingHandler

import cvat_sdk.auto_annotation as cvataa
import urllib3.exceptions
from cvat_sdk import models
from cvat_sdk.masks import decode_mask
from PIL import Image

from lexiseg_client import cvat, cvat_clicks

url, photo = sys.argv[1:]


@dataclass
class Context(cvataa.DetectionFunctionContext):
    frame_name: str = "china.jpg"
    conf_threshold: float | None = None
    conv_mask_to_poly: bool = False


@dataclass
class Prompts(cvataa.InteractionPrompts):
    pos_points: tuple[tuple[float, float], ...] = ()
    neg_points: tuple[tuple[float, float], ...] = ()
    bounding_box: tuple[tuple[float, float], tuple[float, float]] | None = None


class Clicking(cvataa.InteractionFunctionContext):
    pass


def area_of(prompts: Prompts) -> int:
    """Pixels of an interactor's mask, of the one picture that is sent."""
    (shape,) = interactor.detect(Clicking(), prepared, prompts)
    assert isinstance(shape, cvataa.InteractionResultShape)
    assert 0 < float(shape.attributes[0].value) <= 1
    return int(decode_mask(shape.points, image_width=picture.width, image_height=picture.height).sum())


def refusals() -> list[str]:
    """What cvat-cli, and an agent, show of a threshold and a point that are out of range."""
    said = []
    try:
        function.detect(Context(conf_threshold=7), picture)
    except urllib3.exceptions.HTTPError as error:
        said.append(str(error))
    try:
        interactor.detect(Clicking(), prepared, Prompts(((9000, 60),)))
    except cvataa.BadFunctionError as error:
        said.append(str(error))
    return said


def warned() -> list[str]:
    """What cvat-cli's terminal shows of two pictures with a word that the model does not know."""
    handler = BufferingHandler(capacity=9)
    logging.getLogger("lexiseg_client.cvat").addHandler(handler)
    unknown = cvat.create(labels="zyzzyva", server=url)
    unknown.detect(Context(), picture)
    unknown.detect(Context(), picture)
    return [record.getMessage() for record in handler.buffer]


picture = Image.open(photo)
interactor = cvat_clicks.create(server=url)
prepared = interactor.preprocess_image(Clicking(), picture)
function = cvat.create(labels="sky,temple=building|pagoda", server=url)
names = {label.id: label.name for label in function.spec.labels}
shapes = function.detect(Context(), picture)
assert all(isinstance(shape, models.LabeledShapeRequest) for shape in shapes)
masks = [
    decode_mask(shape.points, image_width=picture.width, image_height=picture.height)
    for shape in shapes
    if shape.type.value == "mask"
]
polygons = function.detect(Context(conv_mask_to_poly=True), picture)
report = {
    "types": sorted({label.type for label in function.spec.labels}),
    "areas": {names[shape.label_id]: int(mask.sum()) for shape, mask in zip(shapes, masks, strict=True)},
    "polygons": sorted({f"{names[shape.label_id]} {shape.type.value}" for shape in polygons}),
    "clicked": area_of(Prompts(((200, 60),))),
    "corrected": area_of(Prompts(((200, 60),), ((600, 400),))),
    "boxed": area_of(Prompts(bounding_box=((70, 30), (350, 410)))),
    "nothing": len(interactor.detect(Clicking(), prepared, Prompts())),
    "refused": refusals(),
    "warned": warned(),
    "sure": len(function.detect(Context(conf_threshold=0.999), picture)),
}
print(json.dumps(report))
