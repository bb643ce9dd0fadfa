"""A plain FastAPI server: one image at a time, every class upsampled, masks by pycocotools class by class."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import io
import socket
import threading
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import uvicorn
from fastapi import FastAPI, File, Form
from PIL import Image

from lexiseg_model.segmenter import words_of
from lexiseg_model.vocabulary.scoring import score_vocabulary
from loadtests.peers.class_by_class import segments_of
from loadtests.peers.model import load, vocabulary_of

app = FastAPI()
segmenter = load()
one_at_a_time = threading.Lock()
texts: dict[str, Any] = {}


def rows_of(names: list[str]) -> Any:
    fresh = [text for text in names if text not in texts]
    if fresh:
        texts.update(zip(fresh, words_of(segmenter).encode_texts(fresh), strict=True))
    return np.stack([texts[text] for text in names])


@app.get("/readyz")
def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/segment")
def segment(image: Annotated[bytes, File()], classes: Annotated[list[str], Form()]) -> dict[str, Any]:
    rgb = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
    vocabulary = vocabulary_of(segmenter, classes)
    with one_at_a_time, torch.inference_mode():
        plan = segmenter.plan(rgb)
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        scores = score_vocabulary(segmenter, features, vocabulary, rows_of)
        full = F.interpolate(scores[None], size=plan.size, mode="bilinear")[0]
        labels = full.argmax(0).cpu().numpy()
    return {"segments": segments_of(labels, classes)}


if __name__ == "__main__":
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listening])
