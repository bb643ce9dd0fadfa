"""Label Studio's and CVAT's own readers of what the client writes; prints how many pixels each gets wrong."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from cvat_sdk.masks import decode_mask
from label_studio_sdk.converter.brush import decode_rle

exports = json.loads(Path(sys.argv[1]).read_text())
masks = np.load(sys.argv[2])
image = ElementTree.fromstring(exports["cvat"]).find("image")
assert image is not None
wrong = {}
results = exports["label_studio"]["predictions"][0]["result"]
for result, entry in zip(results, image, strict=True):
    (label,) = result["value"]["brushlabels"]
    height, width = masks[label].shape
    brush = np.asarray(decode_rle(result["value"]["rle"])).reshape(height, width, 4)[..., 3] > 0
    left, top, across, down = (int(entry.attrib[name]) for name in ("left", "top", "width", "height"))
    runs = [int(run) for run in entry.attrib["rle"].split(",")]
    box = [left, top, left + across - 1, top + down - 1]
    mask = decode_mask([*runs, *box], image_width=width, image_height=height)
    wrong[label] = [int((brush != masks[label]).sum()), int((mask != masks[label]).sum())]
print(json.dumps(wrong))
