"""Roboflow's inference_sdk asks for words, for what a box shows, and for what is under a point."""

import json
import sys

from inference_sdk import InferenceConfiguration, InferenceHTTPClient

url, photo, form = sys.argv[1:]
client = InferenceHTTPClient(api_url=url, api_key="none-needed")
client.configure(InferenceConfiguration(api_key_transport="header"))
prompts = [
    {"type": "text", "text": "building"},
    {"type": "text", "text": "sky"},
    {"type": "visual", "boxes": [{"x": 440, "y": 270, "width": 180, "height": 150}], "box_labels": [1]},  # bushes
]
clicked = [{"points": [{"x": 320, "y": 60, "positive": True}]}]  # sky
report = {
    "concept": client.sam3_concept_segment(photo, prompts=prompts, output_prob_thresh=0.2, format=form),
    "visual": client.sam3_visual_segment(photo, prompts=clicked, mask_input_format={"polygon": "json"}.get(form, form)),
}
print(json.dumps(report))
