"""The same model behind LitServe, batched as its documentation shows; masks class by class through pycocotools."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import io
import socket
from typing import Any

import litserve
import numpy as np
import torch
import torch.nn.functional as F
from fastapi import Request
from PIL import Image

from lexiseg_model import catalog
from lexiseg_model.scoring import score_vocabulary
from lexiseg_model.text_rows import KnownRows
from lexiseg_model.types import ClassEntry, Vocabulary
from loadtests.peers.class_by_class import segments_of

BATCH = 8
WAIT_SECONDS = 0.005


class SegmentAPI(litserve.LitAPI):
    """One image and its classes in, masks out."""

    def setup(self, device: str) -> None:
        self.segmenter = catalog.load("tiny")
        self.rows = KnownRows(self.segmenter)

    def decode_request(self, request: Request) -> tuple[Any, tuple[str, ...]]:
        # LitServe hands over the parsed form, although its hook is typed as the request.
        form: Any = request
        rgb = np.asarray(Image.open(io.BytesIO(form["image"].file.read())).convert("RGB"))
        return rgb, tuple(form.getlist("classes"))

    def predict(self, requests: list[tuple[Any, tuple[str, ...]]]) -> list[list[dict[str, Any]]]:
        plans = [self.segmenter.plan(rgb) for rgb, _ in requests]
        encoded = self.segmenter.encode_tiles(np.concatenate([plan.tiles for plan in plans]))
        answers = []
        for index, (plan, (_, classes)) in enumerate(zip(plans, requests, strict=True)):
            features = self.segmenter.assemble(plan, tuple(part[index : index + 1] for part in encoded))
            vocabulary = Vocabulary(tuple(ClassEntry(name) for name in classes))
            with torch.inference_mode():
                scores = score_vocabulary(self.segmenter, features, vocabulary, self.rows)
                labels = F.interpolate(scores[None], size=plan.size, mode="bilinear")[0].argmax(0).numpy()
            answers.append(segments_of(labels, classes))
        return answers

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"segments": output}


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    api = SegmentAPI(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS, api_path="/segment")
    server = litserve.LitServer(api, accelerator="cpu", healthcheck_path="/readyz")
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
