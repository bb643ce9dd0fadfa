"""What words name in a photograph, as a labels layer of napari: `python napari_layers.py photo.jpg sky building`."""

import sys

import napari
import numpy as np
from PIL import Image

from lexiseg_client import Client

path, *words = sys.argv[1:]
pixels = np.asarray(Image.open(path).convert("RGB"))
with Client() as client:
    answer = client.segment(pixels, words)
viewer = napari.Viewer()
viewer.add_image(pixels, rgb=True, name=path)
# Features are by label value: row 0 is of pixels without a segment.
features = {
    "label": ["", *(segment.label for segment in answer)],
    "score": [0.0, *(segment.score for segment in answer)],
}
viewer.add_labels(answer.label_map.astype(np.int32), name="lexiseg", features=features)
napari.run()
