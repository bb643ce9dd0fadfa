"""Roboflow's inference_sdk asks for words, for what a box shows, and for what is under a point."""

import json
import sys

from inference_sdk import InferenceConfiguration, InferenceHTTPClient
from inference_sdk.http.errors import HTTPCallErrorError

url, photo, form = sys.argv[1:]
client = InferenceHTTPClient(api_url=url, api_key="none-needed")
words = ["building", "sky"]
client.configure(
    InferenceConfiguration(
        api_key_transport="header", class_filter=words, confidence_threshold=0.2, response_mask_format=form
    )
)
prompts = [
    {"type": "text", "text": "building"},
    {"type": "text", "text": "sky"},
    {"type": "visual", "boxes": [{"x": 440, "y": 270, "width": 180, "height": 150}], "box_labels": [1]},  # bushes
]
clicked = [{"points": [{"x": 200, "y": 60, "positive": True}]}]  # sky
try:
    client.infer(photo, model_id="coco/3")
    refused = ""
except HTTPCallErrorError as error:
    refused = f"{error.status_code} {error.api_message}"
report = {
    "models": [model.model_id for model in client.list_loaded_models().models],
    "inferred": client.infer(photo, model_id="tiny"),
    "refused": refused,
    "concept": client.sam3_concept_segment(photo, prompts=prompts, output_prob_thresh=0.2, format=form),
    "embedded": client.sam3_embed_image(photo)["image_id"],
    "visual": client.sam3_visual_segment(photo, prompts=clicked, mask_input_format={"polygon": "json"}.get(form, form)),
}
print(json.dumps(report))
