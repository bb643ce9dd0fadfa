"""cvat-sdk runs the function as its driver would: it checks the spec, shapes are CVAT's, masks are read back."""

import json
import sys
from dataclasses import dataclass

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk import models
from cvat_sdk.masks import decode_mask
from PIL import Image

from lexiseg_client import cvat

url, photo = sys.argv[1:]


@dataclass
class Context(cvataa.DetectionFunctionContext):
    frame_name: str = "china.jpg"
    conf_threshold: float | None = None
    conv_mask_to_poly: bool = False


picture = Image.open(photo)
function = cvat.create(labels="sky,temple=building|pagoda", server=url, task="semantic")
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
    "sure": len(function.detect(Context(conf_threshold=0.999), picture)),
}
print(json.dumps(report))
