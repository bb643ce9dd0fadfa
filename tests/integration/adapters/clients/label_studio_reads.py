"""Label Studio's SDK reads tasks with predictions: what it finds wrong with each, its picture and its labels."""

import json
import sys
from pathlib import Path

from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.create import labels

tasks = json.loads(Path(sys.argv[1]).read_text())
names = sorted(
    {label for task in tasks for one in task["predictions"][0]["result"] for label in one["value"]["brushlabels"]}
)
interface = LabelInterface(LabelInterface.create({"image": "Image", "label": labels(names, tag_type="BrushLabels")}))
reports = [
    {
        "wrong": interface.validate_prediction(task["predictions"][0], return_errors=True),
        "image": task["data"]["image"],
        "labels": [label for one in task["predictions"][0]["result"] for label in one["value"]["brushlabels"]],
    }
    for task in tasks
]
print(json.dumps(reports))
