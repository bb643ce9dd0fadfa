"""Label Studio's SDK takes predictions of a video: what it finds wrong, and the frames of each object."""

import json
import sys
from pathlib import Path

from label_studio_sdk._extensions.label_studio_tools.postprocessing.video import extract_key_frames
from label_studio_sdk.label_interface import LabelInterface

CONFIG = """<View><Labels name="label" toName="video"><Label value="dog"/></Labels>
<Video name="video" value="$video"/><VideoRectangle name="box" toName="video"/></View>"""

(task,) = json.loads(Path(sys.argv[1]).read_text())
(prediction,) = task["predictions"]
wrong = LabelInterface(CONFIG).validate_prediction(prediction, return_errors=True)
frames = [[each["frame"] for each in one["value"]["sequence"]] for one in prediction["result"]]
extract_key_frames(prediction["result"])
print(json.dumps({"wrong": wrong, "frames": frames}))
