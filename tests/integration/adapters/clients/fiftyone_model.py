"""The model of examples/fiftyone as FiftyOne's zoo loads it from a folder of its own; what it finds is written as JSON.

Without a database, which a data set and `apply_model` need.
"""

import json
import shutil
import sys
from pathlib import Path

import fiftyone
import fiftyone.zoo
import lexiseg_fiftyone
import numpy as np
from PIL import Image

url, photo, folder = sys.argv[1:]
fiftyone.config.model_zoo_dir = folder
shutil.copytree(Path(lexiseg_fiftyone.__file__).parent, Path(folder) / "lexiseg")
pixels = np.asarray(Image.open(photo).convert("RGB"))
with fiftyone.zoo.load_zoo_model("lexiseg/words", classes=["sky", "building"], url=url, task="panoptic") as model:
    alone, batch = model.predict(pixels), model.predict_all([pixels, pixels[:200]])
found = [[one.label, *one.mask.shape] for one in alone.detections]
(Path(folder) / "found.json").write_text(json.dumps([found, *(len(one.detections) for one in batch)]))
