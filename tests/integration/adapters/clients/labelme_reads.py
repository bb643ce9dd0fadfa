"""Labelme's reader opens files: size of the picture beside them or inside, labels and kinds of the shapes."""

import io
import json
import sys
from unittest.mock import MagicMock

from PIL import Image

# Its window and its colours, which the reader does not use.
for module in ("PyQt5", "PyQt5.QtCore", "PyQt5.QtGui", "PyQt5.QtWidgets", "imgviz", "imgviz.io"):
    sys.modules[module] = MagicMock()

from labelme import LabelFile  # noqa: E402

opened = [LabelFile(path) for path in sys.argv[1:]]
print(
    json.dumps(
        [
            {
                "size": Image.open(io.BytesIO(file.image_data or b"")).size,
                "shapes": sorted([shape["label"], shape["shape_type"]] for shape in file.shapes),
            }
            for file in opened
        ]
    )
)
