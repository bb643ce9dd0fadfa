"""Label Studio's SDK reads predictions as Label Studio would: what it finds wrong, and the masks in the brushes."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import requests
from label_studio_sdk.converter import brush
from label_studio_sdk.label_interface import LabelInterface

url, photo = sys.argv[1:]
LABELS = '<Label value="Temple" predicted_values="building,pagoda"/><Label value="Sky"/>'
CONFIG = f"""<View><Image name="image" value="$image"/>
<BrushLabels name="tag" toName="image">{LABELS}</BrushLabels>
<KeyPointLabels name="click" toName="image" smart="true">{LABELS}</KeyPointLabels></View>"""
IMAGE = "data:image/jpeg;base64," + base64.b64encode(Path(photo).read_bytes()).decode()


def predicted(config: str, **params: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"tasks": [{"id": 1, "data": {"image": IMAGE}}], "label_config": config, "params": params}
    answer = requests.post(f"{url}/predict", json=body, timeout=60)
    answer.raise_for_status()
    prediction: dict[str, Any] = answer.json()["results"][0]
    return prediction


def report(config: str, **params: Any) -> dict[str, Any]:
    prediction = predicted(config, **params)
    regions = prediction["result"]
    return {
        "wrong": LabelInterface(config).validate_prediction(prediction, return_errors=True),
        "labels": sorted({label for region in regions for label in region["value"][region["type"]]}),
        "areas": [
            int((brush.decode_rle(region["value"]["rle"])[3::4] > 0).sum())
            for region in regions
            if "rle" in region["value"]
        ],
    }


CLICK = {
    "type": "keypointlabels",
    "value": {"x": 45.0, "y": 60.0, "width": 0.3, "keypointlabels": ["Temple"]},
    "original_width": 640,
    "original_height": 427,
    "is_positive": True,
}
reports = {
    "brush": report(CONFIG),
    "polygon": report(CONFIG.replace("BrushLabels", "PolygonLabels")),
    "click": report(CONFIG, context={"result": [CLICK]}),
}
print(json.dumps(reports))
