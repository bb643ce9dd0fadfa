"""Triton's HTTP client asks the Open Inference Protocol, its tensors as bytes."""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton

address, photo = sys.argv[1:]
client = triton.InferenceServerClient(address)
image = triton.InferInput("image", [1], "BYTES")
image.set_data_from_numpy(np.array([Path(photo).read_bytes()], object))
words = triton.InferInput("classes", [2], "BYTES")
words.set_data_from_numpy(np.array(["sky", "building"], object))
answer = client.infer("tiny", [image, words], request_id="7", parameters={"task": "semantic"})
try:
    client.infer("nope", [image, words])
    refused = ""
except triton.InferenceServerException as error:
    refused = str(error)
index = client.get_model_repository_index()
(statistics,) = client.get_inference_statistics("tiny")["model_stats"]
report = {
    "live": client.is_server_live(),
    "ready": client.is_server_ready() and client.is_model_ready("tiny"),
    "inputs": [tensor["name"] for tensor in client.get_model_metadata("tiny")["inputs"]],
    "configured": [tensor["name"] for tensor in client.get_model_config("tiny")["input"]],
    "id": answer.get_response()["id"],
    "labels": [label.decode() for label in answer.as_numpy("labels")],
    "boxes": answer.as_numpy("boxes").tolist(),
    "areas": answer.as_numpy("areas").tolist(),
    "masks": [json.loads(mask) for mask in answer.as_numpy("masks")],
    "index": [[each["name"], each["state"]] for each in index],
    "counted": [statistics["inference_count"], statistics["inference_stats"]["success"]["count"]],
    "everything": [each["name"] for each in client.get_inference_statistics()["model_stats"]],
    "refused": refused,
}
print(json.dumps(report))
