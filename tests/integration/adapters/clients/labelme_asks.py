"""Labelme's own session asks osam, in whose place the server stands: clicks, a box, and words with their blanks."""

import json
import sys
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from PIL import Image

# Its window and its colours, and osam's downloads, which are not used.
for module in ("PyQt5", "PyQt5.QtCore", "PyQt5.QtGui", "PyQt5.QtWidgets", "imgviz", "imgviz.io", "gdown"):
    sys.modules[module] = MagicMock()

import osam  # noqa: E402
from labelme._automation._osam_session import OsamSession  # noqa: E402
from labelme._automation._text_detection import get_bboxes_from_texts  # noqa: E402

from lexiseg_client import Client  # noqa: E402
from lexiseg_client import osam as lexiseg  # noqa: E402

url, photo = sys.argv[1:]
lexiseg.Lexiseg.client = Client(url)
lexiseg.register(*lexiseg.STANDS_FOR)
pixels = np.asarray(Image.open(photo).convert("RGB"))


def clicked(points: list[list[float]], labels: list[int]) -> dict[str, Any]:
    session = OsamSession(model_name="sam2:latest")
    answer = session.run(image=pixels, image_id="a", points=np.array(points), point_labels=np.array(labels))
    (annotation,) = answer.annotations
    box = annotation.bounding_box
    return {"area": int(annotation.mask.sum()), "box": [box.xmin, box.ymin, box.xmax, box.ymax]}


boxes, scores, labels, masks = get_bboxes_from_texts(
    session=OsamSession(model_name="yoloworld:latest"), image=pixels, image_id="a", texts=["sky", " building"]
)
told: list[str] = []


def empty_with(texts: list[str], shape: tuple[int, ...] = pixels.shape) -> bool:
    """Whether the answer is empty where Labelme would end of an exception."""
    session = OsamSession(model_name="yoloworld:latest")
    return not len(get_bboxes_from_texts(session, pixels[: shape[0], : shape[1]], "c", texts)[0])


try:
    OsamSession(model_name="sam2:latest").run(image=pixels[:2, :2], image_id="b", texts=["sky"])
    refused = ""
except ValueError as error:
    refused = str(error)
lexiseg.Lexiseg.show = told.append
empty = [empty_with(["sky"], (2, 2)), empty_with(["zyzzyva"])]
report = {
    "empty": empty,
    "told": told,
    "downloaded": osam.apis.get_model_type_by_name("sam2:latest").get_size() is not None,
    "click": clicked([[200, 60]], [1]),
    "box": clicked([[70, 30], [350, 410]], [2, 3]),
    "labels": sorted(set(labels.tolist())),
    "areas": [int(mask.sum()) for mask in masks],
    "scores": scores.tolist(),
    "refused": refused,
}
print(json.dumps(report))
